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
