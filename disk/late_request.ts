/**
 * A request that waits for a Promise or its deadline.
 *
 * @module
 */

import { ETIMEDOUT } from "../uapi/errno.ts";

/** A timer; undefined for none. */
export type Timer = ReturnType<typeof setTimeout> | undefined;

/** The longest delay that `setTimeout` accepts, in milliseconds. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Starts a timer. A delay too long for `setTimeout` counts as never: no timer is started. */
export function startTimer(ms: number, work: () => void): Timer {
  return ms > MAX_TIMER_MS ? undefined : setTimeout(work, ms);
}

/** A waiting request, which gets exactly one result. */
export class LateRequest {
  /** The request has its result. Anything the backend still does is too late. */
  isAnswered = false;
  readonly #startMs = performance.now();
  readonly #timer: Timer;
  readonly #answered: (result: number, waitedMs?: number) => void;

  /** @param answered Called once with the result; after a timeout also with the time waited. */
  constructor(deadlineMs: number, answered: (result: number, waitedMs?: number) => void) {
    this.#answered = answered;
    this.#timer = startTimer(deadlineMs, () => this.expire());
  }

  /** Answers the request. */
  answer(result: number, waitedMs?: number): void {
    this.isAnswered = true;
    clearTimeout(this.#timer);
    this.#answered(result, waitedMs);
  }

  /** Answers the request with -ETIMEDOUT. */
  expire(): void {
    this.answer(-ETIMEDOUT, Math.round(performance.now() - this.#startMs));
  }
}
