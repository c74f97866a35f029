/**
 * The seal of a record: what a sealed one has between its clear part and what is encrypted.
 *
 * ```
 *  0  salt  16 bytes, random
 * 16  sum   u32: of the record before it was sealed
 * 20  zeroes
 * 32  tag   16 bytes
 * ```
 *
 * What is authenticated besides is everything before the tag, with the record's sum as 0.
 *
 * @module
 */

import type { Fields } from "./record.ts";

/** Bytes of a seal. */
export const SEAL_BYTES = 48;
/** Where in it the record's sum is. */
export const SEAL_SUM_AT = 16;
/** Where in it the tag is. */
export const SEAL_TAG_AT = 32;
/** Bytes of a tag. */
export const TAG_BYTES = 16;
/** Bytes that each block of a sealed chunk takes in its table besides: a tag, and the sum as it lies there. */
export const BLOCK_SEAL_BYTES = 20;

/** The sum that a sealed record had before. @param at Where its seal begins. */
export function innerSumOf(fields: Fields, at: number): number {
  return fields.u32(at + SEAL_SUM_AT);
}
