/**
 * Reads back what the engine has appended to the journal, for the drain. It reads only what is
 * complete, so a batch that is not sound is damaged. It takes the batches that recovery takes
 * (`journal/end.ts`).
 *
 * @module
 */

import type { File } from "../../files/port.ts";
import { readUpTo } from "../../files/whole.ts";
import { assert, UblkError } from "../../uapi/error.ts";
import {
  batchBytes,
  decodeSegmentHeader,
  isSound,
  peekBatch,
  type SegmentHeader,
} from "../format/journal.ts";
import { BATCH_HEADER_BYTES, SEGMENT_HEADER_BYTES } from "../format/journal_layout.ts";
import { FormatError } from "../format/record.ts";
import type { ScannedBatch } from "../journal/scan.ts";
import { isNextBatch, isNextSegment, type JournalEnd } from "../journal/end.ts";
import type { JournalOpener } from "../seal/journal.ts";

/** The parts of a {@linkcode JournalSource}. */
export interface JournalSourceParts {
  /** The journal's files. */
  readonly files: readonly File[];
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Bytes of a segment. */
  readonly size: number;
  /** After which batch to begin. */
  readonly from: JournalEnd;
  /** Memory to read into, larger than any batch; past the page cache perhaps. */
  readonly window: Uint8Array<ArrayBuffer>;
  /** The journal in words, for errors. */
  readonly words: string;
  /** Opens its batches. */
  readonly opener: JournalOpener;
}

/** How far a journal has been read. */
export interface ReadEnd extends JournalEnd {
  /** The epoch of the last batch; 0 before the first one. */
  readonly epoch: number;
}

/** Reads batches in their order. */
export class JournalSource {
  readonly #parts: JournalSourceParts;
  #end: ReadEnd;
  /** The window holds bytes from this position on. */
  #windowPosition = -1;
  #windowBytes = 0;

  /** Takes over the parts. */
  constructor(parts: JournalSourceParts) {
    this.#parts = parts;
    // No header says more: amid a segment, recovery has found the first batch there.
    this.#end = { ...parts.from, epoch: 0 };
  }

  /** Opens its batches. */
  get opener(): JournalOpener {
    return this.#parts.opener;
  }

  /** The batch that was read last. */
  get end(): ReadEnd {
    return this.#end;
  }

  /**
   * The next batch, if it ends at or before a position.
   *
   * @returns Undefined if the journal has no further batch before that.
   * @throws {UblkError} `VOLUME_DAMAGED`
   */
  next(until: number): ScannedBatch | undefined {
    const { size, blockSize } = this.#parts;
    let { position, epoch } = this.#end;
    while (position < until) {
      const start = Math.floor(position / size) * size;
      const limit = start + size;
      if (position === start) {
        const begun = this.#begun(start / size);
        if (begun === undefined && limit >= until) throw this.#damaged(position);
        // After a crash the writer may have left out a segment.
        position = begun === undefined ? limit : start + SEGMENT_HEADER_BYTES;
        epoch = Math.max(epoch, begun?.epoch ?? 0);
        continue;
      }
      const header = this.#peek(position, limit);
      const length = header === undefined ? 0 : batchBytes(header);
      const isNext = header !== undefined && position + length <= limit &&
        isNextBatch(header, this.#end.sequence, this.#end.chain, epoch);
      if (isNext && limit >= until && position + length > until) return undefined;
      const bytes = isNext ? this.#bytes(position, length, limit) : undefined;
      if (!isNext || bytes === undefined || !isSound(bytes, header, blockSize)) {
        if (limit >= until) throw this.#damaged(position);
        // The writer went on in the next segment, and left here what it found: perhaps the header of
        // a batch that a crash has torn. That once passed for damage, and stopped the drain for good.
        position = limit;
        continue;
      }
      this.#end = {
        position: position + length,
        sequence: header.sequence,
        chain: header.sum,
        written: header.written,
        epoch: header.epoch,
      };
      return { header, bytes, position };
    }
    return undefined;
  }

  /** Goes back to after a batch: what was read since is read again. */
  rewind(end: ReadEnd): void {
    this.#end = end;
  }

  #peek(position: number, limit: number) {
    if (position + BATCH_HEADER_BYTES > limit) return undefined;
    return peekBatch(this.#bytes(position, BATCH_HEADER_BYTES, limit), this.#parts.blockSize);
  }

  /** The header of a segment, if it begins with the batch after the last one. */
  #begun(segment: number): SegmentHeader | undefined {
    const { size } = this.#parts;
    const { sequence, chain } = this.#end;
    const start = segment * size;
    const header = this.#decode(this.#bytes(start, SEGMENT_HEADER_BYTES, start + size));
    const isNext = header?.segment === segment && isNextSegment(header, sequence, chain);
    return isNext ? header : undefined;
  }

  #decode(bytes: Uint8Array<ArrayBuffer>) {
    try {
      return decodeSegmentHeader(bytes);
    } catch (error) {
      if (error instanceof FormatError) return undefined;
      throw error;
    }
  }

  /** Bytes from a position on, of which the segment or what is complete may hold fewer. */
  #bytes(position: number, length: number, limit: number): Uint8Array<ArrayBuffer> {
    const { window, files, size } = this.#parts;
    const at = position - this.#windowPosition;
    if (this.#windowPosition >= 0 && at >= 0 && at + length <= this.#windowBytes) {
      return window.subarray(at, at + length);
    }
    assert(length <= window.length, "the window is larger than any batch");
    const segment = Math.floor(position / size);
    // From a multiple of a page, as reads past the page cache must.
    const from = position - position % 4096;
    const wanted = window.subarray(0, Math.min(window.length, limit - from));
    const read = readUpTo(files[segment % files.length], wanted, from - segment * size);
    this.#windowPosition = from;
    this.#windowBytes = read;
    if (position - from + length > read) throw this.#damaged(position);
    return window.subarray(position - from, position - from + length);
  }

  /** Forgets what was read ahead, which the engine may have written to since. */
  refresh(): void {
    this.#windowPosition = -1;
  }

  #damaged(position: number): UblkError {
    return new UblkError("VOLUME_DAMAGED", {
      operation: this.#parts.words,
      reason: `the batch at position ${position} is damaged`,
      hint: "the disk of the journal has changed what was written to it",
    });
  }
}
