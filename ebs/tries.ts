/**
 * Work that is tried until it is done, each piece by itself.
 *
 * @module
 */

import { Backoff } from "../store/retry.ts";
import { Slots } from "../store/slots.ts";

/** Pauses between attempts, in milliseconds. */
const [FIRST_PAUSE_MS, LONGEST_PAUSE_MS] = [500, 30_000];

/** How often work is tried. */
export interface TriesTerms {
  /**
   * The longest pause between attempts of one piece, in milliseconds.
   *
   * @default 30 s
   */
  readonly longestPauseMs?: number;
  /**
   * Most attempts under way at a time.
   *
   * @default Any number
   */
  readonly atOnce?: number;
}

/** Tries pieces of work. */
export class Tries {
  readonly #longestPauseMs: number;
  /** For attempts: those that wait for one have their turns also after the end, and do nothing. */
  readonly #slots: Slots;
  /** Those that are tried, and what ends a pause. */
  readonly #trying = new Map<string, { stop: () => void; done: Promise<void> }>();
  #isOver = false;

  /** On these terms. */
  constructor({ longestPauseMs = LONGEST_PAUSE_MS, atOnce = Infinity }: TriesTerms = {}) {
    this.#longestPauseMs = longestPauseMs;
    this.#slots = new Slots(atOnce);
  }

  /**
   * Tries something until it succeeds. What is tried already under its key goes on as it was.
   *
   * @param attempt One attempt.
   * @param failed Called with the error of the first attempt that fails.
   */
  begin(key: string, attempt: () => Promise<void>, failed: (error: unknown) => void): void {
    if (this.#isOver || this.#trying.has(key)) return;
    const state = { stop: () => {}, done: Promise.resolve() };
    this.#trying.set(key, state);
    state.done = this.#until(state, attempt, failed).finally(() => this.#trying.delete(key));
  }

  async #until(
    state: { stop: () => void },
    attempt: () => Promise<void>,
    failed: (error: unknown) => void,
  ): Promise<void> {
    const backoff = new Backoff(Math.random, FIRST_PAUSE_MS, this.#longestPauseMs);
    while (!this.#isOver) {
      try {
        return await this.#slots.run(async () => {
          if (!this.#isOver) await attempt();
        });
      } catch (error) {
        if (backoff.failures === 0) failed(error);
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, backoff.next());
      state.stop = () => {
        clearTimeout(timer);
        resolve();
      };
      await promise;
    }
  }

  /** Begins nothing any more, and waits for attempts that are under way. */
  async end(): Promise<void> {
    this.#isOver = true;
    for (const { stop } of this.#trying.values()) stop();
    await Promise.all([...this.#trying.values()].map(({ done }) => done));
  }
}
