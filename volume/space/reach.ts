/**
 * The blocks of chunks that some states of a volume reach.
 *
 * @module
 */

import { chunkOf, MAX_CHUNK_BLOCKS, nthOf } from "../format/place.ts";
import type { BlockMap } from "../map/block_map.ts";

/** Blocks of chunks. */
export class Reach {
  /** Per chunk, a bit for each of its blocks. */
  readonly #bits = new Map<number, Uint32Array<ArrayBuffer>>();
  readonly #words: number;

  /** @param most Most blocks of a chunk. */
  constructor(most: number) {
    this.#words = Math.ceil(Math.min(most, MAX_CHUNK_BLOCKS) / 32);
  }

  /**
   * Adds what a map reaches.
   *
   * @param counts Whether a chunk counts. Without it all do.
   */
  add(map: BlockMap, counts: (chunk: number) => boolean = () => true): void {
    for (const cursor = map.cursor(); cursor.next();) {
      let { place, count } = cursor;
      // Places that follow each other may be of chunks that follow each other.
      while (count > 0) {
        const nth = nthOf(place);
        const length = Math.min(count, MAX_CHUNK_BLOCKS - nth);
        if (counts(chunkOf(place))) this.#mark(chunkOf(place), nth, length);
        place += length;
        count -= length;
      }
    }
  }

  #mark(chunk: number, nth: number, count: number): void {
    let bits = this.#bits.get(chunk);
    if (bits === undefined) this.#bits.set(chunk, bits = new Uint32Array(this.#words));
    for (let at = nth; at < nth + count; at++) bits[at >>> 5] |= 1 << (at & 31);
  }

  /** Whether a block of a chunk is reached. */
  has(chunk: number): boolean {
    return this.#bits.has(chunk);
  }

  /** The chunks of which a block is reached. */
  chunks(): IterableIterator<number> {
    return this.#bits.keys();
  }

  /** The number of blocks of a chunk that are reached. */
  blocksOf(chunk: number): number {
    let blocks = 0;
    for (const word of this.#bits.get(chunk) ?? []) blocks += ones(word);
    return blocks;
  }

  /** The number of blocks that are reached. */
  get blocks(): number {
    let blocks = 0;
    for (const chunk of this.#bits.keys()) blocks += this.blocksOf(chunk);
    return blocks;
  }

  /** The number of blocks that another one reaches too. */
  sharedWith(other: Reach): number {
    let blocks = 0;
    for (const [chunk, bits] of this.#bits) {
      const others = other.#bits.get(chunk);
      if (others !== undefined) bits.forEach((word, nth) => blocks += ones(word & others[nth]));
    }
    return blocks;
  }
}

/** The number of bits that are set in 32. */
function ones(word: number): number {
  let bits = word - (word >>> 1 & 0x5555_5555);
  bits = (bits & 0x3333_3333) + (bits >>> 2 & 0x3333_3333);
  return Math.imul(bits + (bits >>> 4) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}
