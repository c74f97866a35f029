/**
 * Delayed requests: the common part of `delay` and `rate`.
 *
 * @module
 */

import type { Answer } from "./backend.ts";
import { closedError } from "./answers.ts";

/** Requests that wait for a timer. They fail if the disk was closed in the meantime. */
export class Waiting {
  #closed = false;

  /** Resolves after a time in milliseconds; at once for 0. Rejects if the disk was closed. */
  async wait(ms: number): Promise<void> {
    if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
    if (this.#closed) throw closedError();
  }

  /** Does the work after a time in milliseconds. */
  async later(ms: number, work: () => Answer): Promise<void> {
    if (ms > 0) await this.wait(ms);
    await work();
  }

  /**
   * After this no waiting request may start. Those still waiting have been answered by their
   * deadline, and the inner backend closes next. When the timer fires, its descriptors may belong
   * to other files.
   */
  close(): void {
    this.#closed = true;
  }
}
