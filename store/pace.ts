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
    await this.#until(this.#paidMs, signal);
  }

  /**
   * Resolves once bytes are to be moved: all before them have taken their time. They are owed from now
   * on, unless the wait ends early.
   *
   * @throws The signal's reason.
   */
  async turn(bytes: number, signal?: AbortSignal): Promise<void> {
    const start = this.#paidMs;
    this.owe(bytes);
    try {
      await this.#until(start, signal);
    } catch (error) {
      this.forgive(bytes);
      throw error;
    }
  }

  /** Bytes that are owed were not moved. */
  forgive(bytes: number): void {
    this.#paidMs -= bytes / this.#bytesPerMs;
  }

  async #until(ms: number, signal: AbortSignal | undefined): Promise<void> {
    for (;;) {
      signal?.throwIfAborted();
      const left = ms - this.#clock();
      if (left <= 0) return;
      await this.#wait(Math.min(left, PAUSE_MS));
    }
  }
}
