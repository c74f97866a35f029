/**
 * Lines of compressed chunks that were opened last, so that reads that follow each other through a line
 * open it once. They are few: memory and the cache's file have lines as they lie in the store.
 *
 * @module
 */

import { openPiece, pieceLength, storedBytes } from "../pack/chunks.ts";
import type { PieceOwner } from "./chunk_reads.ts";
import type { ChunkSums } from "./chunk_tables.ts";
import { areSound } from "./sound.ts";

/** Lines that are kept. */
const LINES = 64;
/** The key of no line. */
const NONE = -1;

/** The table of a compressed chunk. */
export type PackedSums = ChunkSums & Required<Pick<ChunkSums, "pieces">>;

/** Opened lines. */
export class OpenedLines {
  readonly #line: number;
  readonly #blockSize: number;
  readonly #keys: Float64Array<ArrayBuffer>;
  /** When each was used last, in uses of all. */
  readonly #used: Float64Array<ArrayBuffer>;
  #uses = 0;
  /** Made when the first line is opened: most volumes have none. */
  #memory: Uint8Array<ArrayBuffer> | undefined = undefined;

  /**
   * Room for lines.
   *
   * @param line Bytes of one: a piece of a chunk.
   */
  constructor(line: number, blockSize: number, lines = LINES) {
    this.#line = line;
    this.#blockSize = blockSize;
    this.#keys = new Float64Array(lines).fill(NONE);
    this.#used = new Float64Array(lines);
  }

  /** Whether a line is open. */
  has(key: number): boolean {
    return this.#keys.indexOf(key) >= 0;
  }

  /**
   * The bytes of a line from one on, if it is open; it then counts as used. Whoever copies them compares
   * them with their sums.
   */
  find(key: number, at: number, length: number): Uint8Array<ArrayBuffer> | undefined {
    const place = this.#keys.indexOf(key);
    if (place < 0) return undefined;
    this.#used[place] = ++this.#uses;
    return this.#bytes(place, at, length);
  }

  /** A line is not found any more. */
  drop(key: number): void {
    const place = this.#keys.indexOf(key);
    if (place >= 0) this.#keys[place] = NONE;
  }

  /**
   * Opens a chunk's nth line, in the place of the one that was used longest ago.
   *
   * @param lay Its bytes as they lie in the store. Their sum is right.
   * @returns Whether it opens, and its blocks have their sums.
   */
  open(
    key: number,
    { pieces, sums }: PackedSums,
    nth: number,
    lay: Uint8Array<ArrayBuffer>,
  ): boolean {
    const place = this.#oldest();
    this.#keys[place] = NONE;
    const data = this.#bytes(place, 0, pieceLength(pieces, nth));
    const first = nth * pieces.size / this.#blockSize;
    const isRight = openPiece(pieces, nth, lay, data) &&
      areSound(data, 0, data.length, this.#blockSize, sums, first);
    if (isRight) this.#keys[place] = key;
    return isRight;
  }

  #oldest(): number {
    let oldest = 0;
    for (let place = 1; place < this.#keys.length; place++) {
      if (this.#used[place] < this.#used[oldest]) oldest = place;
    }
    return oldest;
  }

  #bytes(place: number, at: number, length: number): Uint8Array<ArrayBuffer> {
    this.#memory ??= new Uint8Array(this.#keys.length * this.#line);
    const from = place * this.#line + at;
    return this.#memory.subarray(from, from + length);
  }
}

/** Copies a piece of a read from its line if that is open. @returns Whether it was, and has its sums. */
export function copyOpened(
  { pieces, host }: PieceOwner,
  piece: number,
  opened: OpenedLines,
  key: number,
  blockSize: number,
  { pieces: packed, sums }: PackedSums,
): boolean {
  const length = pieces.bytes[piece];
  const nth = pieces.from[piece];
  const within = nth * blockSize % packed.size;
  const bytes = opened.find(key, within, length);
  if (bytes === undefined) return false;
  const at = pieces.at[piece];
  const data = host.data(pieces.request[piece]);
  data.set(bytes, at);
  if (areSound(data, at, at + length, blockSize, sums, nth)) return true;
  // Memory has changed by itself.
  opened.drop(key);
  return false;
}

/** The failure of a piece of a chunk, an object, that has come, and is not what it should be. */
export function unopenedWords(
  name: string,
  { dataAt, pieces }: PackedSums,
  nth: number,
): string {
  return `${name}: the ${storedBytes(pieces, nth)} bytes at offset ` +
    `${dataAt + pieces.offsets[nth]} do not open`;
}
