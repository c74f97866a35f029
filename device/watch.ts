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

/** A look at a thread now and then, by somebody with a clock of his own. */
export class Look {
  readonly #words: Int32Array<SharedArrayBuffer>;
  #progress = -1;

  /** It looks at the thread with this control block. */
  constructor(control: SharedArrayBuffer) {
    this.#words = new Int32Array(control);
  }

  /** Whether the thread has got something done since the look before, or waits in the kernel. */
  gotOn(): boolean {
    const before = this.#progress;
    this.#progress = Atomics.load(this.#words, CONTROL_PROGRESS);
    return this.#progress !== before ||
      Atomics.load(this.#words, CONTROL_STATE) !== THREAD_IN_USER;
  }
}

/**
 * Calls `onStuck` once when the thread has run JavaScript for a whole deadline without getting
 * anything done.
 *
 * @returns A function that ends the watch.
 */
export function watchThread(control: SharedArrayBuffer, onStuck: () => void): () => void {
  const words = new Int32Array(control);
  const periodMs = Math.max(25, Atomics.load(words, CONTROL_DEADLINE_MS) / LOOKS);
  let progress = -1;
  let idleMs = 0;
  let lookedMs = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    // Where more time has passed than between two looks, the whole process stood still (Ctrl-Z, a
    // debugger, a suspended machine), and the thread had none of it.
    idleMs += Math.min(now - lookedMs, 2 * periodMs);
    lookedMs = now;
    const seen = Atomics.load(words, CONTROL_PROGRESS);
    if (seen !== progress || Atomics.load(words, CONTROL_STATE) !== THREAD_IN_USER) {
      progress = seen;
      idleMs = 0;
    } else if (idleMs > Math.max(Atomics.load(words, CONTROL_DEADLINE_MS), 2 * periodMs)) {
      clearInterval(timer);
      onStuck();
    }
  }, periodMs);
  return () => clearInterval(timer);
}
