/**
 * Requests that begin later: what `delay` and `rate` have in common.
 *
 * @module
 */

import type { Answer } from "./backend.ts";
import { closedError } from "./answers.ts";

/** Requests that wait for a timer, and for no more than that once their disk is closed. */
export class Waiting {
  #closed = false;

  /** Resolves so many milliseconds later; at once where there are none. */
  async wait(ms: number): Promise<void> {
    if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
    if (this.#closed) throw closedError();
  }

  /** Does the work so many milliseconds later. */
  async later(ms: number, work: () => Answer): Promise<void> {
    if (ms > 0) await this.wait(ms);
    await work();
  }

  /**
   * Begins none any more. Whoever waits has been answered by the deadline, and what is inside closes
   * next: the descriptors that it had may be other files' when the timer comes.
   */
  close(): void {
    this.#closed = true;
  }
}
