/**
 * A limit on bytes in a second. Whoever moves bytes pays for them in time.
 *
 * @module
 */

/** The longest pause at a time, in milliseconds. */
const PAUSE_MS = 1000;

/** A pace, which all who pay share. */
export class Pace {
  readonly #bytesPerMs: number;
  readonly #clock: () => number;
  readonly #wait: (ms: number) => Promise<void>;
  /** When everything that was moved has been paid for. */
  #paidMs = -Infinity;

  /**
   * Makes a pace.
   *
   * @param bytesPerSecond Infinity for no limit.
   * @param clock A clock in milliseconds that never goes back.
   * @param wait Waits, for tests.
   */
  constructor(
    bytesPerSecond: number,
    clock: () => number = () => performance.now(),
    wait: (ms: number) => Promise<void> = (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  ) {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#clock = clock;
    this.#wait = wait;
  }

  /** Notes bytes that need not wait. The next ones wait for longer. */
  owe(bytes: number): void {
    this.#paidMs = Math.max(this.#paidMs, this.#clock()) + bytes / this.#bytesPerMs;
  }

  /** Resolves once bytes, and all before them, have taken their time. @throws The signal's reason. */
  async pay(bytes: number, signal?: AbortSignal): Promise<void> {
    this.owe(bytes);
    for (const end = this.#paidMs;;) {
      signal?.throwIfAborted();
      const ms = end - this.#clock();
      if (ms <= 0) return;
      await this.#wait(Math.min(ms, PAUSE_MS));
    }
  }
}
