/**
 * Leaves that list their extents, sorted by block. An extent is three words:
 *
 * ```text
 * word 0   its first block in the leaf (13 bits) | its number of blocks (14 bits)
 * word 1   its place, low word
 * word 2   its place, high word
 * ```
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";
import { EXTENT_WORDS } from "./leaf_classes.ts";

/** Most blocks of a leaf. */
export const MOST_BLOCKS_PER_LEAF = 1 << 13;

const TWO_32 = 0x1_0000_0000;
// V8 inlines constants of this module. It loads and checks an imported one on each use.
const EXTENT = 3;
/** An extent may have all blocks of a leaf, hence one bit more. */
const COUNT_BITS = 14;
const COUNT_MASK = (1 << COUNT_BITS) - 1;

assert(EXTENT === EXTENT_WORDS, "as the classes count them");
assert(MOST_BLOCKS_PER_LEAF <= COUNT_MASK, "an extent may have all blocks of a leaf");
assert(MOST_BLOCKS_PER_LEAF << COUNT_BITS > 0, "a key is a positive integer of 32 bits");

/** The number of extents that begin at a block or before it. The extents lie from word `at`. */
export function upTo(
  words: Int32Array<ArrayBuffer>,
  at: number,
  extents: number,
  offset: number,
): number {
  const key = offset + 1 << COUNT_BITS;
  let low = 0;
  let high = extents;
  while (low < high) {
    const middle = low + high >> 1;
    if (words[at + EXTENT * middle] < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The first block of the extent at a word. */
export function startAt(words: Int32Array<ArrayBuffer>, at: number): number {
  return words[at] >> COUNT_BITS;
}

/** The block after the extent at a word. */
export function endAt(words: Int32Array<ArrayBuffer>, at: number): number {
  return (words[at] >> COUNT_BITS) + (words[at] & COUNT_MASK);
}

/** The place of the extent at a word. */
export function placeAt(words: Int32Array<ArrayBuffer>, at: number): number {
  return words[at + 2] * TWO_32 + (words[at + 1] >>> 0);
}

/** Writes an extent. */
export function writeExtent(
  words: Int32Array<ArrayBuffer>,
  at: number,
  start: number,
  end: number,
  place: number,
): void {
  words[at] = start << COUNT_BITS | end - start;
  words[at + 1] = place | 0;
  words[at + 2] = place / TWO_32;
}

/** Old pieces of a leaf go there. */
export interface Account {
  /** Blocks lose the places from `place` on. */
  replace(place: number, count: number): void;
}

/**
 * One change of a sorted leaf: which of its extents go, and the up to three that come in their
 * place. Reused for each change, because it makes no garbage so.
 */
export class Splice {
  /** The first extent that goes. */
  first = 0;
  /** The one after the last that goes. */
  last = 0;
  /** The extents that come. */
  readonly extents = new Int32Array(3 * EXTENT);
  /** Their number. */
  count = 0;
  readonly #step: number;
  readonly #account: Account;

  /** For leaves of one map. */
  constructor(step: number, account: Account) {
    this.#step = step;
    this.#account = account;
  }

  /**
   * Plans to give the blocks from `from` to before `to` the places from `high` and `low` on, or none
   * if `high` is negative.
   */
  plan(
    words: Int32Array<ArrayBuffer>,
    at: number,
    extents: number,
    from: number,
    to: number,
    high: number,
    low: number,
  ): void {
    const step = this.#step;
    let first = upTo(words, at, extents, from - 1);
    let leftAt = -1;
    if (first > 0) {
      const before = at + EXTENT * (first - 1);
      const end = endAt(words, before);
      if (end > from) first--;
      else if (end === from) leftAt = before;
    }
    this.count = 0;
    let last = first;
    let rightEnd = 0;
    let rightPlace = 0;
    for (; last < extents; last++) {
      const old = at + EXTENT * last;
      const start = startAt(words, old);
      if (start >= to) break;
      const end = endAt(words, old);
      const place = placeAt(words, old);
      if (start < from) leftAt = old;
      if (end > to) {
        rightEnd = end;
        rightPlace = place + (to - start) * step;
      }
      const begin = start < from ? from : start;
      this.#account.replace(place + (begin - start) * step, (end > to ? to : end) - begin);
    }
    let start = from;
    let end = to;
    let place = high * TWO_32 + (low >>> 0);
    if (leftAt >= 0) {
      const leftStart = startAt(words, leftAt);
      const leftPlace = placeAt(words, leftAt);
      const isCut = leftAt === at + EXTENT * first;
      if (high >= 0 && leftPlace + (from - leftStart) * step === place) {
        start = leftStart;
        place = leftPlace;
        if (!isCut) first--;
      } else if (isCut) this.#add(leftStart, from, leftPlace);
    }
    if (high >= 0) {
      const follows = place + (to - start) * step;
      if (rightEnd > 0) {
        if (rightPlace === follows) {
          end = rightEnd;
          rightEnd = 0;
        }
      } else if (last < extents) {
        const right = at + EXTENT * last;
        if (startAt(words, right) === to && placeAt(words, right) === follows) {
          end = endAt(words, right);
          last++;
        }
      }
      this.#add(start, end, place);
    }
    if (rightEnd > 0) this.#add(to, rightEnd, rightPlace);
    this.first = first;
    this.last = last;
  }

  #add(start: number, end: number, place: number): void {
    writeExtent(this.extents, EXTENT * this.count++, start, end, place);
  }
}
