/**
 * Reads a journal after its writer has ended, however it ended. Batches count in their order up to
 * the first that is not whole; nothing behind that counts, in later segments neither.
 *
 * Batches behind the first bad one are no surprise after a power cut, since what was not synced may
 * survive in any order. But a batch names the last one that was durable when it was written. If a
 * later batch says so of one that is not there any more, flushed data is lost: the disk has lied or
 * decayed, and that is said instead of opening the volume without it.
 *
 * @module
 */

import type { File } from "../../files/port.ts";
import { readUpTo } from "../../files/whole.ts";
import { UblkError } from "../../uapi/error.ts";
import {
  BATCH_MAGIC,
  batchBytes,
  type BatchHeader,
  decodeSegmentHeader,
  isSound,
  peekBatch,
  type SegmentHeader,
} from "../format/journal.ts";
import { SEGMENT_HEADER_BYTES } from "../format/journal_layout.ts";
import { FormatError } from "../format/record.ts";
import type { JournalEnd, ScannedEnd } from "./end.ts";
import { segmentName } from "./files.ts";

/** A sound batch of a journal. */
export interface ScannedBatch {
  /** Its header. */
  readonly header: BatchHeader;
  /** All of it. Valid until the next batch is read. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The position of its first byte. */
  readonly position: number;
}

/** The journal to read. */
export interface ScanParts {
  /** Its files. */
  readonly files: readonly File[];
  /** The volume's UUID. */
  readonly volume: string;
  /** The journal's UUID. */
  readonly journal: string;
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Bytes of a segment. */
  readonly size: number;
  /** After which batch to begin. */
  readonly from: JournalEnd;
  /** A buffer of one segment, past the page cache perhaps. */
  readonly buffer: Uint8Array<ArrayBuffer>;
  /** The journal in words, for errors. */
  readonly words: string;
}

/** The beginning of a file of a journal: the header of its segment, or nothing yet, or no header. */
type Beginning = SegmentHeader | "blank" | "damaged";

function readHeader(
  file: File,
  volume: string,
  buffer: Uint8Array<ArrayBuffer>,
): Beginning {
  const bytes = buffer.subarray(0, SEGMENT_HEADER_BYTES);
  if (readUpTo(file, bytes, 0) < bytes.length) return "blank";
  try {
    return decodeSegmentHeader(bytes, volume);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return bytes.every((byte) => byte === 0) ? "blank" : "damaged";
  }
}

/**
 * Reads the batches after the given one.
 *
 * @returns Where the journal ends, as the value that the generator returns.
 * @throws {UblkError} `VOLUME_DAMAGED` if batches are gone that had been durable.
 */
export function* scanJournal(parts: ScanParts): Generator<ScannedBatch, ScannedEnd> {
  const { files, volume, journal, blockSize, size, from, buffer } = parts;
  const beginnings = files.map((file) => readHeader(file, volume, buffer));
  const ours = beginnings.map((header, nth) => {
    const isOurs = typeof header !== "string" && header.journal === journal &&
      header.size === size && header.blockSize === blockSize &&
      header.segment % files.length === nth;
    return isOurs ? header : undefined;
  });
  let { position, sequence, chain, written } = from;
  let next = Math.ceil(position / size) * size;
  let end = position;
  let epoch = 0;
  for (;;) {
    const segment = Math.floor(position / size);
    const header = ours[segment % files.length];
    // A position at the very start of a segment is before its header.
    const begins = position % size === 0;
    if (header?.segment === segment && (!begins || continues(header, sequence, chain))) {
      // Batches that an earlier attachment has left in the file continue nothing.
      epoch = Math.max(epoch, header.epoch);
      if (begins) position += SEGMENT_HEADER_BYTES;
      next = (segment + 1) * size;
      const bytes = load(files[segment % files.length], buffer);
      const start = segment * size;
      for (;;) {
        const batch = batchAt(bytes, position - start, blockSize);
        if (batch === undefined) break;
        const isNext = batch.sequence === sequence + 1 && batch.chain === chain &&
          batch.epoch >= epoch;
        if (!isNext) break;
        end = position + batchBytes(batch);
        yield { header: batch, bytes: bytes.subarray(position - start, end - start), position };
        ({ sequence, epoch, written } = batch);
        chain = batch.sum;
        position = end;
      }
    }
    // The writer goes on in the next segment when a batch does not fit, and after a crash perhaps in
    // the one after that.
    const following = ours.filter((header) =>
      header !== undefined && header.segment > segment && continues(header, sequence, chain)
    ).map((header) => header!.segment);
    if (following.length === 0) break;
    position = Math.min(...following) * size;
  }
  // Earlier segments hold earlier batches only. A segment whose header is damaged may hold any: that
  // such files were left out made a volume open without all that one flipped bit had hidden.
  const last = Math.floor(end / size);
  const suspects = beginnings.map((beginning, nth) =>
    beginning === "damaged" || (ours[nth]?.segment ?? -1) >= last
  );
  checkNothingIsMissing(parts, suspects, ours, sequence, end);
  return { position: end, sequence, chain, written, next };
}

function continues(header: SegmentHeader, sequence: number, chain: number): boolean {
  return header.sequence === sequence + 1 && header.chain === chain;
}

/** Reads a whole segment. What is missing at its end reads as zeroes. */
function load(file: File, buffer: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const read = readUpTo(file, buffer, 0);
  buffer.fill(0, read);
  return buffer;
}

/** The header of a sound batch that begins at a byte of a segment. */
function batchAt(
  bytes: Uint8Array<ArrayBuffer>,
  at: number,
  blockSize: number,
): BatchHeader | undefined {
  const rest = bytes.subarray(at);
  const header = peekBatch(rest, blockSize);
  return header !== undefined && isSound(rest, header, blockSize) ? header : undefined;
}

/** Looks for batches after the last one that say that a lost one had been durable. */
function checkNothingIsMissing(
  { files, blockSize, buffer, words, size }: ScanParts,
  suspects: readonly boolean[],
  headers: readonly (SegmentHeader | undefined)[],
  last: number,
  end: number,
): void {
  const place = `byte ${end % size} of ${segmentName(Math.floor(end / size) % files.length)}`;
  for (const [nth, isSuspect] of suspects.entries()) {
    if (!isSuspect) continue;
    const epoch = headers[nth]?.epoch ?? 0;
    const bytes = load(files[nth], buffer);
    const words32 = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    for (let at = SEGMENT_HEADER_BYTES; at < bytes.length; at += SEGMENT_HEADER_BYTES) {
      if (words32[at / 4] !== BATCH_MAGIC) continue;
      const batch = batchAt(bytes, at, blockSize);
      if (batch === undefined || batch.synced <= last || batch.sequence <= last) continue;
      if (batch.epoch < epoch) continue;
      throw new UblkError("VOLUME_DAMAGED", {
        operation: words,
        reason: `batch ${last + 1}, after ${place}, is damaged or gone, and was durable when ` +
          `batch ${batch.sequence} was written`,
        hint: "the disk of the journal has lost flushed data; " +
          "attach without the journal to go on with what the store has",
      });
    }
  }
}
