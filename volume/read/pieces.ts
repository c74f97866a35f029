/**
 * The pieces of reads that are on their way: arrays, so that a piece makes no garbage. A piece is one
 * run of blocks of a request that lie together.
 *
 * @module
 */

import { assert, fail } from "../../uapi/error.ts";

/** Pieces, by their numbers. */
export class Pieces {
  /** Most at once. */
  readonly count: number;
  /** The request. */
  readonly request: Int32Array<ArrayBuffer>;
  /** Where in the request's data the piece is, in bytes. */
  readonly at: Float64Array<ArrayBuffer>;
  /** Its length in bytes. */
  readonly bytes: Float64Array<ArrayBuffer>;
  /** The bytes that have come. */
  readonly got: Float64Array<ArrayBuffer>;
  /** The chunk that it comes from, or -1 for the journal. */
  readonly chunk: Float64Array<ArrayBuffer>;
  /** Its first block in the chunk, or its offset in the journal's file. */
  readonly from: Float64Array<ArrayBuffer>;
  /** The journal's file. */
  readonly file: Int32Array<ArrayBuffer>;
  /** The descriptor that it is read from, and the offset there. */
  readonly fd: Int32Array<ArrayBuffer>;
  readonly offset: Float64Array<ArrayBuffer>;
  /** 0 or 1: which of two generations the piece is of. */
  readonly #generations: Uint8Array<ArrayBuffer>;
  /** Pieces of each generation that are on their way. */
  readonly #underWay = [0, 0];
  #generation = 0;
  readonly #stack: Int32Array<ArrayBuffer>;
  #free: number;

  /** For so many at once. */
  constructor(count: number) {
    assert(count > 0, "a read has a piece");
    this.count = count;
    this.request = new Int32Array(count);
    this.at = new Float64Array(count);
    this.bytes = new Float64Array(count);
    this.got = new Float64Array(count);
    this.chunk = new Float64Array(count);
    this.from = new Float64Array(count);
    this.file = new Int32Array(count);
    this.fd = new Int32Array(count);
    this.offset = new Float64Array(count);
    this.#generations = new Uint8Array(count);
    this.#stack = Int32Array.from({ length: count }, (_, nth) => nth);
    this.#free = count;
  }

  /** The number of free pieces. */
  get free(): number {
    return this.#free;
  }

  /** Takes a piece. One must be free. */
  take(request: number, at: number, bytes: number): number {
    if (this.#free === 0) fail("a piece is free");
    const piece = this.#stack[--this.#free];
    this.request[piece] = request;
    this.at[piece] = at;
    this.bytes[piece] = bytes;
    this.got[piece] = 0;
    this.#generations[piece] = this.#generation;
    this.#underWay[this.#generation]++;
    return piece;
  }

  /** Gives a piece back. */
  release(piece: number): void {
    if (this.#free === this.count) fail("a piece ends once");
    this.#stack[this.#free++] = piece;
    this.#underWay[this.#generations[piece]]--;
  }

  /** Begins a new generation. None of the last but one may be on its way. */
  turn(): void {
    if (this.hasOlder) fail("one generation ends before the next but one begins");
    this.#generation = 1 - this.#generation;
  }

  /** Whether pieces are on their way from before the last {@linkcode turn}. */
  get hasOlder(): boolean {
    return this.#underWay[1 - this.#generation] > 0;
  }
}
