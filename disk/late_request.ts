/**
 * A request that waits for a Promise, and for its deadline.
 *
 * @module
 */

import { ETIMEDOUT } from "../uapi/errno.ts";

/** A timer, if there is one. */
export type Timer = ReturnType<typeof setTimeout> | undefined;

/** The longest time that a timer takes. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Starts a timer; none for a time longer than timers take, which never comes. */
export function startTimer(ms: number, work: () => void): Timer {
  return ms > MAX_TIMER_MS ? undefined : setTimeout(work, ms);
}

/** Such a request, which gets one result. */
export class LateRequest {
  /** It has its result; what the backend still does is too late. */
  isAnswered = false;
  readonly #startMs = performance.now();
  readonly #timer: Timer;
  readonly #answered: (result: number, waitedMs?: number) => void;

  /** @param answered Gets the result, once, and how long it took where that was too long. */
  constructor(deadlineMs: number, answered: (result: number, waitedMs?: number) => void) {
    this.#answered = answered;
    this.#timer = startTimer(deadlineMs, () => this.expire());
  }

  /** Gives it its result. */
  answer(result: number, waitedMs?: number): void {
    this.isAnswered = true;
    clearTimeout(this.#timer);
    this.#answered(result, waitedMs);
  }

  /** It has waited too long. */
  expire(): void {
    this.answer(-ETIMEDOUT, Math.round(performance.now() - this.#startMs));
  }
}
