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
/** Bits of the kind. */
export const KIND_BITS = 2;

/** The token of the nth operation of a kind. */
export function tokenOf(kind: number, nth: number): number {
  return nth << KIND_BITS | kind;
}
