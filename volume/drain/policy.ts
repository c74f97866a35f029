/**
 * When a drain commits, wherever it runs: in a Worker beside a serving thread (`loop.ts`), or in the
 * program's own thread (`pace.ts`). A store that fails is tried again, ever more slowly, for as long as
 * it takes: the journal has everything meanwhile (`store/retry.ts`).
 *
 * @module
 */

/** Bytes after which a commit is made, and the most data of one. */
export const COMMIT_BYTES: number = 64 << 20;
/** Age of what waits after which a commit is made, in milliseconds. */
export const COMMIT_MS = 5000;
/** Most chunks of a commit that are put at a time. */
const PUTS = 4;
/** Most bytes of chunks that are put at a time, if they are more than one. */
const PUT_BYTES = 32 << 20;

/** How many chunks of a size in bytes are put at a time. */
export function putsAtATime(chunkSize: number): number {
  return Math.max(1, Math.min(PUTS, Math.floor(PUT_BYTES / chunkSize)));
}
