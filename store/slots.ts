/**
 * A bound on work under way: connections, and with them the memory of what they carry.
 *
 * @module
 */

/** Slots. Those that wait are served in their order. */
export class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** @param count Most pieces of work at a time. */
  constructor(count: number) {
    this.#free = count;
  }

  /** Runs something once a slot is free. @throws The signal's reason, if it fires before that. */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.#take(signal);
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }

  async #take(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const give = () => {
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const end = () => {
      this.#waiting.splice(this.#waiting.indexOf(give), 1);
      reject(signal!.reason);
    };
    signal?.addEventListener("abort", end, { once: true });
    this.#waiting.push(give);
    await promise;
  }
}
