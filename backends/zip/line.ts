/**
 * Reads that wait for contents which are being gone through, and whose turn it is.
 *
 * One piece of work goes on at a time, in short slices. Every other slice is for the oldest read, so
 * that it is never kept from its end. Those between go to the one of the others that has waited for
 * longest since its last, so that nobody waits for the end of something large. A read is answered as
 * soon as its work has come far enough, and work that nobody waits for stands still.
 *
 * (Every member once went on for itself and gave way to all others: eight that were read at a time
 * were all ready at the same late moment, which was beyond the deadline of all.)
 *
 * @module
 */

import { BREATH_MS, Breaths, type Clock, threadClock } from "./breaths.ts";

/** Something that is gone through from its start to its end. */
export interface Work {
  /** Bytes that have been gone through. */
  readonly there: number;
  /** Goes on by one piece. Resolves to whether it is at its end. */
  step(): Promise<boolean>;
}

/** A read that waits. */
interface Waiter {
  /** The number of the slice that its work had last, or of the slice in which it asked. */
  turn: number;
  readonly work: Work;
  /** It waits for so many bytes; `Infinity`: for the end. */
  readonly end: number;
  ready(): void;
  fail(error: unknown): void;
}

/** The line of those that wait. */
export class Line {
  readonly #clock: Clock;
  /** In the order of asking. */
  #waiters: Waiter[] = [];
  /** Slices so far. */
  #slices = 0;
  /** The next slice is for one of the others. */
  #othersNext = false;
  #running: Promise<void> | undefined;

  /** Nobody waits. */
  constructor(clock: Clock = threadClock) {
    this.#clock = clock;
  }

  /**
   * Resolves once the work has come to `end`, or all of it is done where that is `Infinity`.
   *
   * @param ready Called then, before the work goes on.
   * @throws the work's error, or that of `ready`.
   */
  wait(work: Work, end: number, ready: () => void): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const settle = () => {
      try {
        resolve(ready());
      } catch (error) {
        reject(error);
      }
    };
    this.#waiters.push({ turn: this.#slices, work, end, ready: settle, fail: reject });
    this.#running ??= this.#run();
    return promise;
  }

  /** A read waits for that. */
  wants(work: Work): boolean {
    return this.#waiters.some((waiter) => waiter.work === work);
  }

  /** Fails all that wait. Resolves once nothing goes on. */
  async close(error: unknown): Promise<void> {
    for (const { fail } of this.#waiters.splice(0)) fail(error);
    await this.#running;
  }

  async #run(): Promise<void> {
    const breaths = new Breaths(BREATH_MS, this.#clock);
    while (this.#waiters.length > 0) {
      const work = this.#next();
      this.#slices++;
      for (const waiter of this.#waiters) if (waiter.work === work) waiter.turn = this.#slices;
      const endMs = this.#clock.now() + BREATH_MS;
      do await this.#step(work); while (this.wants(work) && this.#clock.now() < endMs);
      if (breaths.isDue()) await breaths.take();
    }
    this.#running = undefined;
    this.#othersNext = false;
  }

  /** The work whose slice it is. */
  #next(): Work {
    const oldest = this.#waiters[0].work;
    const isOthers = this.#othersNext;
    this.#othersNext = !isOthers;
    if (!isOthers) return oldest;
    const others = this.#waiters.filter(({ work }) => work !== oldest);
    if (others.length === 0) return oldest;
    // The smallest turn; of equal ones, the first that asked. (Going around them in the order of
    // asking never came back to an older one while newer ones kept coming.)
    return others.reduce((first, one) => one.turn < first.turn ? one : first).work;
  }

  async #step(work: Work): Promise<void> {
    let far = 0;
    let failure: { readonly error: unknown } | undefined;
    try {
      far = await work.step() ? Infinity : work.there;
    } catch (error) {
      failure = { error };
    }
    const [over, waiting]: [Waiter[], Waiter[]] = [[], []];
    for (const waiter of this.#waiters) {
      const isOver = waiter.work === work && (failure !== undefined || waiter.end <= far);
      (isOver ? over : waiting).push(waiter);
    }
    this.#waiters = waiting;
    for (const waiter of over) {
      if (failure === undefined) waiter.ready();
      else waiter.fail(failure.error);
    }
  }
}
