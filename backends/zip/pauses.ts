/**
 * Pauses in long work on a serving thread, so that other work can run every few milliseconds.
 *
 * @module
 */

/** Time of uninterrupted work while a disk is served, in milliseconds. */
export const PAUSE_EVERY_MS = 4;
/** Time of uninterrupted work while an archive is opened, when nothing else is urgent. (ms) */
export const OPENING_PAUSE_EVERY_MS = 50;

/** A clock that tests can set. */
export interface Clock {
  /** Monotonic milliseconds. */
  now(): number;
  /** Lets other work of the thread run, and resolves afterwards. */
  pause(): Promise<void>;
}

/** The thread's real clock. */
export const threadClock: Clock = {
  now: () => performance.now(),
  // A timer, because microtasks run before any other work.
  pause: () => new Promise((resolve) => setTimeout(resolve, 0)),
};

/** The pauses of one piece of work. */
export class Pauses {
  readonly #clock: Clock;
  readonly #everyMs: number;
  #dueMs: number;

  /** The first pause is due `everyMs` from now. */
  constructor(everyMs: number, clock: Clock = threadClock) {
    this.#clock = clock;
    this.#everyMs = everyMs;
    this.#dueMs = clock.now() + everyMs;
  }

  /** Whether the work has run long enough for a pause. */
  isDue(): boolean {
    return this.#clock.now() >= this.#dueMs;
  }

  /** Takes a pause. */
  async take(): Promise<void> {
    await this.#clock.pause();
    this.#dueMs = this.#clock.now() + this.#everyMs;
  }
}
