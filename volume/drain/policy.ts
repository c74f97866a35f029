/**
 * When a drain commits, and how it tries again, wherever it runs: in a Worker beside a serving thread
 * (`loop.ts`), or in the program's own thread (`pace.ts`).
 *
 * @module
 */

import { StoreError } from "../../store/store.ts";

/** Bytes after which a commit is made, and the most data of one. */
export const COMMIT_BYTES: number = 64 << 20;
/** Age of what waits after which a commit is made, in milliseconds. */
export const COMMIT_MS = 5000;
/** The pause after the first failure of a store, in milliseconds; it doubles each time. */
const FIRST_PAUSE_MS = 100;
/** The longest pause, in milliseconds. */
const LAST_PAUSE_MS = 10_000;

/** The pause before the next attempt, after a pause of so many milliseconds; 0 for none. */
export function nextPauseMs(before: number): number {
  return Math.min(LAST_PAUSE_MS, Math.max(FIRST_PAUSE_MS, before * 2));
}

/**
 * Whether a failure may pass, so that the same is tried again: a store that is away, full, or does
 * not let us in at the moment. The journal has everything meanwhile.
 */
export function mayPass(error: unknown): error is StoreError {
  return error instanceof StoreError && error.fault !== "corrupt";
}
