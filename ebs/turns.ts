/**
 * One operation at a time for each volume, in the order in which they came, and a bounded number of
 * them in all.
 *
 * @module
 */

import { EbsError } from "./error.ts";

/** Most operations that run or wait. */
const MOST = 256;
/** Most of them for one name. */
const MOST_EACH = 32;

/** The turns of all names. */
export class Turns {
  /** The last operation of each name, and how many there are. */
  readonly #last = new Map<string, { done: Promise<void>; count: number }>();
  #count = 0;

  /** The number of operations that run or wait. */
  get count(): number {
    return this.#count;
  }

  /** Runs an operation when it is its turn. @throws {EbsError} `unavailable` if too many wait. */
  async run<T>(name: string, operation: () => Promise<T>): Promise<T> {
    const last = this.#last.get(name) ?? { done: Promise.resolve(), count: 0 };
    if (this.#count >= MOST || last.count >= MOST_EACH) {
      throw new EbsError("unavailable", `${name}: too many requests wait; try again later`);
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const turn = { done: promise, count: last.count + 1 };
    this.#last.set(name, turn);
    this.#count++;
    try {
      await last.done;
      return await operation();
    } finally {
      this.#count--;
      const now = this.#last.get(name)!;
      now.count--;
      if (now.count === 0) this.#last.delete(name);
      resolve();
    }
  }
}
