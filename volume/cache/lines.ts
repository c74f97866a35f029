/**
 * The lines that a cache holds: pieces of a chunk of 64 KiB each, and the keys that name them.
 *
 * ```
 *  chunk:  ├ table, up to where the data begins ┤├ data …                          ┤
 *  lines:  ├ table 0 ┤├ table 1 ┤ …              ├ data 0 ┤├ data 1 ┤ …   ├ last ┤
 * ```
 *
 * A key names a line of a volume for good, because chunks never change. The bytes of a line are never
 * trusted: the table has a sum of its own, the volume's UUID and the chunk's number, and has the sums
 * of all blocks of data.
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";
import { MAX_CHUNK } from "../format/place.ts";

/** Lines of a chunk that a key can name: data in the lower half, the table in the upper one. */
const LINES = 1 << 14;
const TABLE = LINES / 2;

/** The key of a chunk's nth line of data. */
export function dataLine(chunk: number, nth: number): number {
  assert(chunk <= MAX_CHUNK && nth < TABLE, "a chunk has not so many lines");
  return chunk * LINES + nth;
}

/** The key of the nth line of a chunk's table. */
export function tableLine(chunk: number, nth: number): number {
  assert(chunk <= MAX_CHUNK && nth < TABLE, "a table has not so many lines");
  return chunk * LINES + TABLE + nth;
}

/** The chunk of a line. */
export function chunkOfLine(key: number): number {
  return Math.floor(key / LINES);
}

/** Whether a line is of its chunk's table. */
export function isTableLine(key: number): boolean {
  return key % LINES >= TABLE;
}

/** Which of the lines of data, or of the table, a line is. */
export function nthOfLine(key: number): number {
  return key % TABLE;
}
