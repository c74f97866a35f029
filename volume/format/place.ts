/**
 * Places: where a block's data lies in the chunks of a volume, as one number.
 *
 * `place = chunk × 2^17 + nth`, where `nth` counts the blocks that the chunk holds. The next block of
 * an extent has the next place. The chunk's own table tells where its nth block is.
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";

/** Most blocks in a chunk. */
export const MAX_CHUNK_BLOCKS = 1 << 17;
/** The number of the last chunk that a place can name. */
export const MAX_CHUNK = 2 ** (53 - 17) - 1;
/** The place of a hole, which reads as zeroes. */
export const HOLE = -1;

/** The place of a chunk's nth block. */
export function placeOf(chunk: number, nth: number): number {
  assert(chunk >= 0 && chunk <= MAX_CHUNK, "there are not so many chunks");
  assert(nth >= 0 && nth < MAX_CHUNK_BLOCKS, "a chunk has not so many blocks");
  return chunk * MAX_CHUNK_BLOCKS + nth;
}

/** The chunk of a place. */
export function chunkOf(place: number): number {
  return Math.floor(place / MAX_CHUNK_BLOCKS);
}

/** Which of its chunk's blocks a place is. */
export function nthOf(place: number): number {
  return place % MAX_CHUNK_BLOCKS;
}
