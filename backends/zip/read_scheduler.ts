/**
 * Schedules the work that waiting reads depend on.
 *
 * One work runs at a time, in short slices. Every other slice goes to the oldest read, so that it
 * always finishes. The slices in between go to the work that has waited longest since its last slice,
 * so that no read waits for the end of a large one. A read is answered as soon as its work has got far
 * enough. Work that no read waits for does not run.
 *
 * (Once every member ran by itself and yielded to all others: eight members that were read at a time
 * were all ready at the same late moment, beyond the deadline of all.)
 *
 * @module
 */

import { type Clock, PAUSE_EVERY_MS, Pauses, threadClock } from "./pauses.ts";

/** Work that proceeds in steps from start to end. */
export interface Work {
  /** Bytes processed. */
  readonly bytesDone: number;
  /** Processes one piece. Resolves to whether the work is complete. */
  step(): Promise<boolean>;
}

/** A waiting read. */
interface Waiter {
  /** The number of its work's last slice, or of the slice during which the read arrived. */
  lastSlice: number;
  readonly work: Work;
  /** The bytes that it waits for; `Infinity`: for the end. */
  readonly end: number;
  ready(): void;
  fail(error: unknown): void;
}

/** Runs work for waiting reads. */
export class ReadScheduler {
  readonly #clock: Clock;
  /** In order of arrival. */
  #waiters: Waiter[] = [];
  /** Number of slices so far. */
  #slices = 0;
  /** Whether the next slice goes to a read other than the oldest. */
  #othersNext = false;
  #running: Promise<void> | undefined;

  /** A scheduler without waiting reads. */
  constructor(clock: Clock = threadClock) {
    this.#clock = clock;
  }

  /**
   * Resolves once the work has reached `end`, or is complete if that is `Infinity`.
   *
   * @param ready Called at that point, before the work continues.
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
    this.#waiters.push({ lastSlice: this.#slices, work, end, ready: settle, fail: reject });
    this.#running ??= this.#run();
    return promise;
  }

  /** Whether a read waits for the work. */
  hasWaiters(work: Work): boolean {
    return this.#waiters.some((waiter) => waiter.work === work);
  }

  /** Fails all waiting reads. Resolves once no work runs. */
  async close(error: unknown): Promise<void> {
    for (const { fail } of this.#waiters.splice(0)) fail(error);
    await this.#running;
  }

  async #run(): Promise<void> {
    const pauses = new Pauses(PAUSE_EVERY_MS, this.#clock);
    while (this.#waiters.length > 0) {
      const work = this.#next();
      this.#slices++;
      for (const waiter of this.#waiters) if (waiter.work === work) waiter.lastSlice = this.#slices;
      const endMs = this.#clock.now() + PAUSE_EVERY_MS;
      do await this.#step(work); while (this.hasWaiters(work) && this.#clock.now() < endMs);
      if (pauses.isDue()) await pauses.take();
    }
    this.#running = undefined;
    this.#othersNext = false;
  }

  /** The work that gets the next slice. */
  #next(): Work {
    const oldest = this.#waiters[0].work;
    const isOthers = this.#othersNext;
    this.#othersNext = !isOthers;
    if (!isOthers) return oldest;
    const others = this.#waiters.filter(({ work }) => work !== oldest);
    if (others.length === 0) return oldest;
    // The smallest lastSlice; among equals, the first to arrive. (Round robin in order of arrival
    // never returned to an older read while newer ones kept coming.)
    return others.reduce((first, one) => one.lastSlice < first.lastSlice ? one : first).work;
  }

  async #step(work: Work): Promise<void> {
    let reached = 0;
    let failure: { readonly error: unknown } | undefined;
    try {
      reached = await work.step() ? Infinity : work.bytesDone;
    } catch (error) {
      failure = { error };
    }
    const [answered, waiting]: [Waiter[], Waiter[]] = [[], []];
    for (const waiter of this.#waiters) {
      const isAnswered = waiter.work === work && (failure !== undefined || waiter.end <= reached);
      (isAnswered ? answered : waiting).push(waiter);
    }
    this.#waiters = waiting;
    for (const waiter of answered) {
      if (failure === undefined) waiter.ready();
      else waiter.fail(failure.error);
    }
  }
}
