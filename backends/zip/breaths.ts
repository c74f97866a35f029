/**
 * Long work on a thread that also serves: it lets everything else run every few milliseconds.
 *
 * @module
 */

/** The longest time that work goes on without a breath while a disk is served, in milliseconds. */
export const BREATH_MS = 4;
/** The same while an archive is opened: nothing else is under way that hurries. */
export const OPENING_BREATH_MS = 50;

/** A clock that tests can set. */
export interface Clock {
  /** Monotonic milliseconds. */
  now(): number;
  /** Lets other work of the thread run; resolves after it. */
  breathe(): Promise<void>;
}

/** The thread's own. */
export const threadClock: Clock = {
  now: () => performance.now(),
  // A timer and no microtask: those run before anything else gets to.
  breathe: () => new Promise((resolve) => setTimeout(resolve, 0)),
};

/** The breaths of one piece of work. */
export class Breaths {
  readonly #clock: Clock;
  readonly #everyMs: number;
  #dueMs: number;

  /** The first is due `everyMs` from now. */
  constructor(everyMs: number, clock: Clock = threadClock) {
    this.#clock = clock;
    this.#everyMs = everyMs;
    this.#dueMs = clock.now() + everyMs;
  }

  /** The work has gone on for long enough. */
  isDue(): boolean {
    return this.#clock.now() >= this.#dueMs;
  }

  /** Takes it. */
  async take(): Promise<void> {
    await this.#clock.breathe();
    this.#dueMs = this.#clock.now() + this.#everyMs;
  }
}
