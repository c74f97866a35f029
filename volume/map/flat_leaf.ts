/**
 * Leaves with a place for each block, in two words: low and high. A hole's high word is -1.
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";
import { PLACE_WORDS } from "./leaf_classes.ts";

const TWO_32 = 0x1_0000_0000;
const HOLE = -1;
// V8 inlines constants of this module. It loads and checks an imported one on each use.
const PLACE = 2;

assert(PLACE === PLACE_WORDS, "as the classes count them");

/** The place of a block, or a negative number. The first block's words are at `at`. */
export function flatPlace(words: Int32Array<ArrayBuffer>, at: number, offset: number): number {
  const word = at + PLACE * offset;
  return words[word + 1] * TWO_32 + (words[word] >>> 0);
}

/** Whether a block has no place. */
export function isHole(words: Int32Array<ArrayBuffer>, at: number, offset: number): boolean {
  return words[at + PLACE * offset + 1] < 0;
}

/** Gives blocks the places from `high` and `low` on, or none if `high` is negative. */
export function fillFlat(
  words: Int32Array<ArrayBuffer>,
  at: number,
  from: number,
  to: number,
  high: number,
  low: number,
  step: number,
): void {
  const end = at + PLACE * to;
  let place = high * TWO_32 + (low >>> 0);
  for (let word = at + PLACE * from; word < end; word += PLACE) {
    if (high < 0) {
      words[word] = 0;
      words[word + 1] = HOLE;
    } else {
      words[word] = place | 0;
      words[word + 1] = place / TWO_32;
      place += step;
    }
  }
}

/** The end of the extent or hole that begins at a block, at most `end`. */
export function flatEnd(
  words: Int32Array<ArrayBuffer>,
  at: number,
  from: number,
  end: number,
  step: number,
): number {
  let word = at + PLACE * from;
  let offset = from + 1;
  if (words[word + 1] < 0) {
    while (offset < end && words[at + PLACE * offset + 1] < 0) offset++;
    return offset;
  }
  let place = words[word + 1] * TWO_32 + (words[word] >>> 0);
  for (; offset < end; offset++) {
    word += PLACE;
    place += step;
    if (words[word + 1] * TWO_32 + (words[word] >>> 0) !== place) break;
  }
  return offset;
}

/** Number of extents that begin from `from` to before `to`. */
export function flatStarts(
  words: Int32Array<ArrayBuffer>,
  at: number,
  from: number,
  to: number,
  step: number,
): number {
  let starts = 0;
  // The place that continues the block before.
  let follows = -1;
  if (from > 0 && !isHole(words, at, from - 1)) follows = flatPlace(words, at, from - 1) + step;
  for (let word = at + PLACE * from; word < at + PLACE * to; word += PLACE) {
    const high = words[word + 1];
    if (high < 0) {
      follows = -1;
      continue;
    }
    const place = high * TWO_32 + (words[word] >>> 0);
    if (place !== follows) starts++;
    follows = place + step;
  }
  return starts;
}
