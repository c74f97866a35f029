/**
 * Compares data with the sums of its blocks.
 *
 * @module
 */

import { sumOf } from "../format/sum.ts";

/** The failure of a block that has the right sum, and that the volume's key does not open. */
export const NOT_OPENED = "the volume's key does not open it";

/** The failure of a block that has a wrong sum. */
export const WRONG_SUM = "has a wrong checksum";

/**
 * Whether blocks of data have the sums that they should have.
 *
 * @param nth Where the first block's sum is.
 * @param step From one block's sum to the next.
 */
export function areSound(
  data: Uint8Array<ArrayBuffer>,
  start: number,
  end: number,
  blockSize: number,
  sums: Uint32Array<ArrayBuffer>,
  nth: number,
  step = 1,
): boolean {
  return firstUnsound(data, start, end, blockSize, sums, nth, step) < 0;
}

/** The first byte of the first block that has not, from `start` on; -1 if there is none. */
export function firstUnsound(
  data: Uint8Array<ArrayBuffer>,
  start: number,
  end: number,
  blockSize: number,
  sums: Uint32Array<ArrayBuffer>,
  nth: number,
  step = 1,
): number {
  for (let at = start; at < end; at += blockSize, nth += step) {
    if (sumOf(data.subarray(at, at + blockSize)) !== sums[nth]) return at - start;
  }
  return -1;
}
