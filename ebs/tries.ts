/**
 * Work that is tried until it is done, for each volume by itself.
 *
 * @module
 */

import { Backoff } from "../store/retry.ts";

/** Pauses between attempts, in milliseconds. */
const [FIRST_PAUSE_MS, LONGEST_PAUSE_MS] = [500, 30_000];

/** Tries for volumes. */
export class Tries {
  /** Those that are tried, and what ends a pause. */
  readonly #trying = new Map<string, { stop: () => void; done: Promise<void> }>();
  #isOver = false;

  /**
   * Tries something for a volume until it succeeds. One that is tried already goes on as it was.
   *
   * @param attempt One attempt.
   * @param failed Called with the error of the first attempt that fails.
   */
  begin(volume: string, attempt: () => Promise<void>, failed: (error: unknown) => void): void {
    if (this.#isOver || this.#trying.has(volume)) return;
    const state = { stop: () => {}, done: Promise.resolve() };
    this.#trying.set(volume, state);
    state.done = this.#until(state, attempt, failed).finally(() => this.#trying.delete(volume));
  }

  async #until(
    state: { stop: () => void },
    attempt: () => Promise<void>,
    failed: (error: unknown) => void,
  ): Promise<void> {
    const backoff = new Backoff(Math.random, FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
    while (!this.#isOver) {
      try {
        return await attempt();
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
