/**
 * Copies of a volume's data on this machine, which may have what an object in the store has lost: lines
 * in its cache's file, and batches in its journal's files, until they are used again.
 *
 * Both may be in use by a server. Nothing that is read from them is trusted: whoever uses it compares
 * it with the sums of the chunk.
 *
 * @module
 */

import type { File, Files } from "../../files/port.ts";
import { readUpTo } from "../../files/whole.ts";
import { isUblkError } from "../../uapi/error.ts";
import { dataLine, tableLine } from "../cache/lines.ts";
import { CACHE_PAGE, type CacheHeader, cacheLinesAt, decodeCacheHeader } from "../format/cache.ts";
import type { Head } from "../format/head.ts";
import {
  batchBytes,
  type BatchHeader,
  decodeSegmentHeader,
  isSound,
  peekBatch,
} from "../format/journal.ts";
import { SEGMENT_HEADER_BYTES } from "../format/journal_layout.ts";
import { FormatError } from "../format/record.ts";
import { segmentPaths } from "../journal/files.ts";
import { readIdentity } from "../journal/identity.ts";
import { JournalOpener, type OpenedBatch } from "../seal/journal.ts";
import type { VolumeKey } from "../seal/volume_key.ts";

/** The lines in a cache's file. */
export class CachedLines implements Disposable {
  readonly #file: File;
  readonly #header: CacheHeader;
  /** Slots by the keys of their lines. */
  readonly #slots = new Map<number, number>();

  private constructor(file: File, header: CacheHeader) {
    this.#file = file;
    this.#header = header;
    const keys = new Float64Array(header.slots);
    readUpTo(file, new Uint8Array(keys.buffer), CACHE_PAGE);
    keys.forEach((key, slot) => {
      if (key > 0) this.#slots.set(key - 1, slot);
    });
  }

  /**
   * Opens a cache; undefined if there is none, or none of the volume's past.
   *
   * @param copy Of which copy of the volume it is to be.
   */
  static open(
    files: Files,
    path: string,
    head: Head,
    copy: string | undefined,
  ): CachedLines | undefined {
    using stack = new DisposableStack();
    try {
      if (files.status(path) === undefined) return undefined;
      const file = stack.use(files.open(path));
      const bytes = new Uint8Array(CACHE_PAGE);
      if (readUpTo(file, bytes, 0) < CACHE_PAGE) return undefined;
      const header = decodeCacheHeader(bytes, head.volume);
      // A store that was brought back from a copy may give the numbers of chunks once more.
      const isPast = header.copy === copy && header.epoch <= head.epoch &&
        header.manifest <= head.manifest;
      if (!isPast) return undefined;
      if (file.size() < cacheLinesAt(header.slots) + header.slots * header.line) return undefined;
      stack.move();
      return new CachedLines(file, header);
    } catch (error) {
      if (error instanceof FormatError || isUblkError(error)) return undefined;
      throw error;
    }
  }

  /** Bytes of a chunk's table; undefined if a part of them is not there. */
  table(chunk: number, length: number): Uint8Array<ArrayBuffer> | undefined {
    const { line } = this.#header;
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; at += line) {
      const part = this.#line(tableLine(chunk, at / line));
      if (part === undefined) return undefined;
      bytes.set(part.subarray(0, Math.min(line, length - at)), at);
    }
    return bytes;
  }

  /**
   * A block of a chunk's data, by its place there.
   *
   * @param line Bytes of a line of data: those of a piece, in a volume that compresses.
   */
  block(
    chunk: number,
    nth: number,
    blockSize: number,
    line: number = this.#header.line,
  ): Uint8Array<ArrayBuffer> | undefined {
    const at = nth * blockSize;
    return this.#line(dataLine(chunk, Math.floor(at / line)))?.subarray(
      at % line,
      at % line + blockSize,
    );
  }

  /** A piece of a compressed chunk, as it lies in the store. */
  piece(chunk: number, nth: number, length: number): Uint8Array<ArrayBuffer> | undefined {
    return this.#line(dataLine(chunk, nth))?.subarray(0, length);
  }

  #line(key: number): Uint8Array<ArrayBuffer> | undefined {
    const slot = this.#slots.get(key);
    if (slot === undefined) return undefined;
    const { slots, line } = this.#header;
    const bytes = new Uint8Array(line);
    readUpTo(this.#file, bytes, cacheLinesAt(slots) + slot * line);
    return bytes;
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}

/** A block in a batch. */
export interface BatchBlock {
  /** The batch's sequence. */
  readonly sequence: number;
  /** The block of the disk. */
  readonly block: number;
  /** Its data, opened. Valid until the next one. */
  readonly data: Uint8Array<ArrayBuffer>;
}

/**
 * The blocks of data in all sound batches that a journal's files hold, also of those that are stored.
 *
 * @param key The data key; undefined for a volume that is not encrypted. What it does not open is left
 *   out.
 */
export function* blocksInJournal(
  files: Files,
  folder: string,
  volume: string,
  key: VolumeKey | undefined,
): Generator<BatchBlock> {
  const found = journalIn(files, folder);
  if (found?.identity.volume !== volume) return;
  const { size, blockSize, journal } = found.identity;
  const bytes = new Uint8Array(size);
  const opener = new JournalOpener(key, { volume, journal, blockSize }, `journal ${folder}`);
  for (const path of found.paths) {
    using file = files.open(path);
    bytes.fill(0, readUpTo(file, bytes, 0));
    if (!isOf(bytes, volume, journal)) continue;
    for (let at = SEGMENT_HEADER_BYTES; at < size;) {
      const rest = bytes.subarray(at);
      const header = peekBatch(rest, blockSize);
      const isWhole = header !== undefined && isSound(rest, header, blockSize);
      if (isWhole) yield* blocksOf(opener, rest, header, blockSize);
      // Behind a damaged batch, or at the seam between new and old ones, there may be others.
      at += isWhole ? batchBytes(header) : SEGMENT_HEADER_BYTES;
    }
  }
}

/** A journal's files; undefined if there is none, or one that nobody can read. */
function journalIn(files: Files, folder: string) {
  try {
    if (files.status(folder) === undefined) return undefined;
    const identity = readIdentity(files, folder);
    return identity && { identity, paths: segmentPaths(files, folder) };
  } catch (error) {
    if (isUblkError(error)) return undefined;
    throw error;
  }
}

function isOf(bytes: Uint8Array<ArrayBuffer>, volume: string, journal: string): boolean {
  try {
    return decodeSegmentHeader(bytes.subarray(0, SEGMENT_HEADER_BYTES), volume).journal === journal;
  } catch (error) {
    if (error instanceof FormatError) return false;
    throw error;
  }
}

function* blocksOf(
  opener: JournalOpener,
  bytes: Uint8Array<ArrayBuffer>,
  header: BatchHeader,
  blockSize: number,
): Generator<BatchBlock> {
  const { sequence } = header;
  const opened = ifOpened(() => opener.open(bytes, header));
  const data = new Uint8Array(blockSize);
  let inBatch = 0;
  for (const { block, count, hole, at } of opened?.extents() ?? []) {
    if (hole) continue;
    for (let nth = 0; nth < count; nth++, inBatch++) {
      const from = bytes.subarray(at + nth * blockSize).subarray(0, blockSize);
      const isRight = ifOpened(() => {
        opener.copy(header, opened as OpenedBatch, from, data, inBatch);
        return true;
      });
      if (isRight) yield { sequence, block: block + nth, data };
    }
  }
}

/** What the key opens; undefined for what it does not. */
function ifOpened<T>(open: () => T): T | undefined {
  try {
    return open();
  } catch (error) {
    if (isUblkError(error) && error.code === "VOLUME_DAMAGED") return undefined;
    throw error;
  }
}
