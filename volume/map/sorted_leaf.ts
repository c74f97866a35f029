/**
 * Leaves that list their extents, sorted by block: first a key for each extent, then their places.
 * The keys lie together, so that a search touches little memory: most of its time is cache misses.
 *
 * ```text
 * key     first block in the leaf (13 bits) | number of blocks (14 bits)
 * place   low word, high word
 * ```
 *
 * Functions take the words, the index of the first key (`keys`) or that of the first place
 * (`places`), and the extent's number.
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";
import { EXTENT_WORDS } from "./leaf_classes.ts";

/** Most blocks of a leaf. */
export const MOST_BLOCKS_PER_LEAF = 1 << 13;

const TWO_32 = 0x1_0000_0000;
/** An extent may have all blocks of a leaf, hence one bit more. */
const COUNT_BITS = 14;
const COUNT_MASK = (1 << COUNT_BITS) - 1;
/** Most extents that one change adds: the rest on the left, the new one, the rest on the right. */
const MOST_ADDED = 3;

assert(EXTENT_WORDS === 3, "a key and two words of a place");
assert(MOST_BLOCKS_PER_LEAF <= COUNT_MASK, "an extent may have all blocks of a leaf");
assert(MOST_BLOCKS_PER_LEAF << COUNT_BITS > 0, "a key is a positive integer of 32 bits");

/** The number of extents that begin at a block or before it. */
export function upTo(
  words: Int32Array<ArrayBuffer>,
  keys: number,
  extents: number,
  offset: number,
): number {
  const key = offset + 1 << COUNT_BITS;
  let low = 0;
  let high = extents;
  while (low < high) {
    const middle = low + high >> 1;
    if (words[keys + middle] < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The first block of an extent. */
export function startOf(words: Int32Array<ArrayBuffer>, keys: number, extent: number): number {
  return words[keys + extent] >> COUNT_BITS;
}

/** The block after an extent. */
export function endOf(words: Int32Array<ArrayBuffer>, keys: number, extent: number): number {
  const key = words[keys + extent];
  return (key >> COUNT_BITS) + (key & COUNT_MASK);
}

/** The place of an extent. */
export function placeOf(words: Int32Array<ArrayBuffer>, places: number, extent: number): number {
  const word = places + 2 * extent;
  return words[word + 1] * TWO_32 + (words[word] >>> 0);
}

/** Writes an extent. Its place comes in two words, because a number beyond 32 bits is garbage. */
export function writeExtent(
  words: Int32Array<ArrayBuffer>,
  keys: number,
  places: number,
  extent: number,
  start: number,
  end: number,
  high: number,
  low: number,
): void {
  const word = places + 2 * extent;
  words[keys + extent] = start << COUNT_BITS | end - start;
  words[word] = low;
  words[word + 1] = high;
}

/** Copies extents from one leaf to another. */
export function copyExtents(
  words: Int32Array<ArrayBuffer>,
  keys: number,
  places: number,
  extent: number,
  from: Int32Array<ArrayBuffer>,
  fromKeys: number,
  fromPlaces: number,
  fromExtent: number,
  count: number,
): void {
  for (let nth = 0; nth < count; nth++) {
    words[keys + extent + nth] = from[fromKeys + fromExtent + nth];
  }
  const to = places + 2 * extent;
  const at = fromPlaces + 2 * fromExtent;
  for (let word = 0; word < 2 * count; word++) words[to + word] = from[at + word];
}

/** Old pieces of a leaf go there. */
export interface Account {
  /** So many blocks lose the places from `high` and `low` on. */
  replace(high: number, low: number, count: number): void;
}

/**
 * One change of a sorted leaf: which of its extents go, and which come in their place. There is one
 * for all changes, so it makes no garbage.
 */
export class Splice {
  /** The first extent that goes. */
  first = 0;
  /** The one after the last that goes. */
  last = 0;
  /** Number of extents that come. */
  count = 0;
  /** The extents that come. */
  readonly words = new Int32Array(MOST_ADDED * EXTENT_WORDS);
  /** Where {@linkcode words} has their keys. */
  readonly keys = 0;
  /** Where {@linkcode words} has their places. */
  readonly places = MOST_ADDED;
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
    keys: number,
    places: number,
    extents: number,
    from: number,
    to: number,
    high: number,
    low: number,
  ): void {
    const step = this.#step;
    let first = upTo(words, keys, extents, from - 1);
    /** The extent on the left, if it reaches the change, and whether the change cuts it. */
    let left = -1;
    let isCut = false;
    if (first > 0) {
      const end = endOf(words, keys, first - 1);
      if (end >= from) left = first - 1;
      if (end > from) {
        isCut = true;
        first--;
      }
    }
    this.count = 0;
    let last = first;
    let rightEnd = 0;
    let rightPlace = 0;
    for (; last < extents; last++) {
      const start = startOf(words, keys, last);
      if (start >= to) break;
      const end = endOf(words, keys, last);
      const word = places + 2 * last;
      let place = words[word + 1] * TWO_32 + (words[word] >>> 0);
      if (end > to) {
        rightEnd = end;
        rightPlace = place + (to - start) * step;
      }
      const begin = start < from ? from : start;
      place += (begin - start) * step;
      this.#account.replace(place / TWO_32 | 0, place | 0, (end > to ? to : end) - begin);
    }
    let start = from;
    let end = to;
    let place = high * TWO_32 + (low >>> 0);
    if (left >= 0) {
      const leftStart = startOf(words, keys, left);
      const word = places + 2 * left;
      const leftPlace = words[word + 1] * TWO_32 + (words[word] >>> 0);
      if (high >= 0 && leftPlace + (from - leftStart) * step === place) {
        start = leftStart;
        place = leftPlace;
        first = left;
      } else if (isCut) this.#add(leftStart, from, words[word + 1], words[word]);
    }
    if (high >= 0) {
      const follows = place + (to - start) * step;
      if (rightEnd > 0) {
        if (rightPlace === follows) {
          end = rightEnd;
          rightEnd = 0;
        }
      } else if (last < extents && startOf(words, keys, last) === to) {
        const word = places + 2 * last;
        if (words[word + 1] * TWO_32 + (words[word] >>> 0) === follows) {
          end = endOf(words, keys, last++);
        }
      }
      this.#add(start, end, place / TWO_32 | 0, place | 0);
    }
    if (rightEnd > 0) this.#add(to, rightEnd, rightPlace / TWO_32 | 0, rightPlace | 0);
    this.first = first;
    this.last = last;
  }

  #add(start: number, end: number, high: number, low: number): void {
    writeExtent(this.words, 0, MOST_ADDED, this.count++, start, end, high, low);
  }
}
