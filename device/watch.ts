/**
 * Sees from outside whether a serving thread is stuck in a method of its backend.
 *
 * A synchronous loop in a backend cannot be interrupted by anything in its thread, and a request
 * that is never answered holds up whoever removes the device. So each thread shows in its control
 * block where it is and that it gets on, and somebody who is not that thread looks.
 *
 * @module
 */

import {
  CONTROL_DEADLINE_MS,
  CONTROL_PROGRESS,
  CONTROL_STATE,
  THREAD_IN_USER,
} from "../queue/control_block.ts";

/** Looks per deadline. */
const LOOKS = 4;

/**
 * Calls `onStuck` once when the thread has run JavaScript for a whole deadline without getting
 * anything done.
 *
 * @returns A function that ends the watch.
 */
export function watchThread(control: SharedArrayBuffer, onStuck: () => void): () => void {
  const words = new Int32Array(control);
  let progress = -1;
  let sinceMs = performance.now();
  const periodMs = Math.max(25, Atomics.load(words, CONTROL_DEADLINE_MS) / LOOKS);
  const timer = setInterval(() => {
    const now = performance.now();
    const seen = Atomics.load(words, CONTROL_PROGRESS);
    if (seen !== progress || Atomics.load(words, CONTROL_STATE) !== THREAD_IN_USER) {
      progress = seen;
      sinceMs = now;
    } else if (now - sinceMs > Math.max(Atomics.load(words, CONTROL_DEADLINE_MS), 2 * periodMs)) {
      clearInterval(timer);
      onStuck();
    }
  }, periodMs);
  return () => clearInterval(timer);
}
