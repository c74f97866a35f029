/**
 * The names of the engine's operations: a kind in the low bits, and which one of the kind.
 *
 * @module
 */

/** A batch is written to the journal. */
export const WRITE = 0;
/** A file of the journal is synced. */
export const SYNC = 1;
/** A piece of a request is read. */
export const READ = 2;
/** A pause ends. */
export const PAUSE = 3;
/** A line of the cache is read from its file into memory. */
export const LINE_READ = 4;
/** A line, or a page of the index, is written to the cache's file. */
export const LINE_WRITE = 5;
/** Time has passed for those who wait for the store. */
export const STORE_WAIT = 6;
/** Bits of the kind. */
export const KIND_BITS = 3;
/** The kind of a token. */
export function kindOf(token: number): number {
  return token & (1 << KIND_BITS) - 1;
}

/** Which one of its kind a token is. */
export function nthOfToken(token: number): number {
  return token >>> KIND_BITS;
}

/** The token of the nth operation of a kind. */
export function tokenOf(kind: number, nth: number): number {
  return nth << KIND_BITS | kind;
}
