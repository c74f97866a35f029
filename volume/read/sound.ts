/**
 * Compares data with the sums of its blocks.
 *
 * @module
 */

import { sumOf } from "../format/sum.ts";

/** The failure of a block that has the right sum, and that the volume's key does not open. */
export const NOT_OPENED = "the volume's key does not open it";

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
  for (let at = start; at < end; at += blockSize, nth += step) {
    if (sumOf(data.subarray(at, at + blockSize)) !== sums[nth]) return false;
  }
  return true;
}
