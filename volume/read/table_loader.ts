/**
 * Loads the tables of chunks through the lines of a cache. A table is one line, or several, of which
 * the first tells how many there are. It is checked as a whole, by its own sum.
 *
 * @module
 */

import { tableLine } from "../cache/lines.ts";
import type { LineMemory } from "../cache/memory.ts";
import { CHUNK_HEADER_BYTES, shapeOfChunk, tableBytesOf } from "../format/chunk.ts";
import { FormatError } from "../format/record.ts";
import { checkPieces, decodeAnyTable } from "../pack/any_table.ts";
import type { Owner } from "../owners.ts";
import type { VolumeKey } from "../seal/volume_key.ts";
import { type ChunkSums, ChunkTables } from "./chunk_tables.ts";

/** How often a table is read that is not what it should be. */
const MOST_TRIES = 3;
/** Bytes of tables in memory. */
const TABLE_BYTES = 32 << 20;

/** A table that is on its way. */
interface Loading {
  readonly chunk: number;
  /** Its line that comes next. */
  part: number;
  /** What has come. */
  bytes: Uint8Array<ArrayBuffer> | undefined;
  tries: number;
}

/** Loads tables, and keeps those that were used last. */
export class TableLoader {
  readonly #lines: LineMemory;
  readonly #line: number;
  readonly #ownerOf: (chunk: number) => Owner;
  readonly #key: VolumeKey | undefined;
  readonly #piece: number;
  readonly #tables = new ChunkTables(TABLE_BYTES);
  readonly #loading = new Map<number, Loading>();

  /**
   * @param line Bytes of a line.
   * @param ownerOf The owner of a chunk.
   * @param key The data key; undefined for a volume that is not encrypted.
   * @param piece Bytes of a piece; 0 for a volume that does not compress.
   */
  constructor(
    lines: LineMemory,
    line: number,
    ownerOf: (chunk: number) => Owner,
    key: VolumeKey | undefined,
    piece: number,
  ) {
    this.#lines = lines;
    this.#line = line;
    this.#ownerOf = ownerOf;
    this.#key = key;
    this.#piece = piece;
  }

  /** The table of a chunk if it is in memory. */
  find(chunk: number): ChunkSums | undefined {
    return this.#tables.find(chunk);
  }

  /** The table of a chunk: there, on its way, or why it cannot be had. */
  get(chunk: number, isAhead: boolean): ChunkSums | string | undefined {
    const found = this.#tables.find(chunk);
    if (found !== undefined) return found;
    let loading = this.#loading.get(chunk);
    if (loading === undefined) {
      loading = { chunk, part: 0, bytes: undefined, tries: 0 };
      this.#loading.set(chunk, loading);
    }
    return this.#load(loading, isAhead);
  }

  /** Whether the next line of a table is on its way. */
  isUnderWay(chunk: number): boolean {
    const loading = this.#loading.get(chunk);
    return loading !== undefined && this.#lines.find(tableLine(chunk, loading.part)) >= 0;
  }

  /** Goes on with a table as far as its lines are there. */
  #load(loading: Loading, isAhead: boolean): ChunkSums | string | undefined {
    const { chunk } = loading;
    for (;;) {
      const key = tableLine(chunk, loading.part);
      const place = this.#lines.find(key);
      if (place < 0) {
        const isUnderWay = this.#bring(loading, isAhead);
        // Whoever goes on has what has come. Before that there is nothing to remember.
        if (!isUnderWay && loading.bytes === undefined) this.#loading.delete(chunk);
        return undefined;
      }
      if (!this.#lines.isReady(place)) {
        if (!isAhead) this.#lines.hurry(place);
        return undefined;
      }
      try {
        if (!this.#takePart(loading, place)) continue;
        const { volume } = this.#ownerOf(chunk);
        const opened = decodeAnyTable(loading.bytes!, volume, chunk, this.#key);
        const { dataAt, sums, seals, pieces } = opened;
        checkPieces(pieces, this.#piece);
        const table = { dataAt, sums, seals, pieces };
        this.#loading.delete(chunk);
        this.#tables.add(chunk, table);
        return table;
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
        // From the cache or from the store: fetched again it may be right.
        for (let part = 0; part <= loading.part; part++) this.#lines.forget(tableLine(chunk, part));
        loading.part = 0;
        loading.bytes = undefined;
        if (++loading.tries < MOST_TRIES) continue;
        this.#loading.delete(chunk);
        return `${this.#ownerOf(chunk).names.chunk(chunk)}: ${error.message}`;
      }
    }
  }

  /** Begins to bring a table's next line, and those after it if it is known how many they are. */
  #bring({ chunk, part, bytes }: Loading, isAhead: boolean): boolean {
    const line = this.#line;
    if (bytes === undefined) {
      return this.#lines.bring(tableLine(chunk, 0), 0, line, true, isAhead) >= 0;
    }
    for (let nth = part; nth * line < bytes.length; nth++) {
      const key = tableLine(chunk, nth);
      if (this.#lines.find(key) >= 0) continue;
      const length = Math.min(line, bytes.length - nth * line);
      if (this.#lines.bring(key, nth * line, length, false, isAhead) < 0) return nth > part;
    }
    return true;
  }

  /** Takes a line of a table. @returns Whether that was the last one. */
  #takePart(loading: Loading, place: number): boolean {
    const from = this.#lines.offsetOf(place);
    const line = this.#lines.bytes.subarray(from, from + this.#line);
    loading.bytes ??= new Uint8Array(lengthIn(line.slice(0, CHUNK_HEADER_BYTES), loading.chunk));
    const at = loading.part * this.#line;
    const { length } = loading.bytes;
    loading.bytes.set(line.subarray(0, Math.min(this.#line, length - at)), at);
    if (at + this.#line >= length) return true;
    loading.part++;
    return false;
  }

  /** Goes on with a table, a line of which has come. As {@linkcode get}. */
  goOn(chunk: number, isAhead: boolean): ChunkSums | string | undefined {
    const loading = this.#loading.get(chunk);
    // It may have been given up.
    return loading === undefined ? undefined : this.#load(loading, isAhead);
  }

  /** A line of a table cannot be had. */
  giveUp(chunk: number): void {
    this.#loading.delete(chunk);
  }
}

/**
 * The length of a chunk's table. The cache's file may have another chunk's line there, whose table may be
 * longer than the object: then the store would have refused the next line.
 *
 * @throws {FormatError}
 */
function lengthIn(header: Uint8Array<ArrayBuffer>, chunk: number): number {
  const length = tableBytesOf(header);
  const { number } = shapeOfChunk(header);
  if (number !== chunk) throw new FormatError(`it is chunk ${number}`);
  return length;
}
