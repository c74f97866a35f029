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
  return words[at + PLACE * offset + 1] * TWO_32 + (words[at + PLACE * offset] >>> 0);
}

/** Whether a block has no place. */
export function isHole(words: Int32Array<ArrayBuffer>, at: number, offset: number): boolean {
  return words[at + PLACE * offset + 1] < 0;
}

/** Gives blocks the places from `place` on, or none if it is negative. */
export function fillFlat(
  words: Int32Array<ArrayBuffer>,
  at: number,
  from: number,
  to: number,
  place: number,
  step: number,
): void {
  const end = at + PLACE * to;
  for (let word = at + PLACE * from; word < end; word += PLACE) {
    if (place < 0) {
      words[word + 1] = HOLE;
    } else {
      words[word] = place | 0;
      words[word + 1] = place / TWO_32;
      place += step;
    }
  }
}

/** Whether a block is in one extent with the block before it. */
function continues(
  words: Int32Array<ArrayBuffer>,
  at: number,
  offset: number,
  step: number,
): boolean {
  return !isHole(words, at, offset) && !isHole(words, at, offset - 1) &&
    flatPlace(words, at, offset) === flatPlace(words, at, offset - 1) + step;
}

/** The end of the extent or hole that begins at a block, at most `end`. */
export function flatEnd(
  words: Int32Array<ArrayBuffer>,
  at: number,
  from: number,
  end: number,
  step: number,
): number {
  let offset = from + 1;
  if (isHole(words, at, from)) {
    while (offset < end && isHole(words, at, offset)) offset++;
  } else {
    let place = flatPlace(words, at, from) + step;
    while (offset < end && flatPlace(words, at, offset) === place) {
      offset++;
      place += step;
    }
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
  for (let offset = from; offset < to; offset++) {
    if (isHole(words, at, offset)) continue;
    if (offset === 0 || !continues(words, at, offset, step)) starts++;
  }
  return starts;
}
