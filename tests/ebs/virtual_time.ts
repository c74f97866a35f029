/**
 * Time that passes only when told to, in ticks: hours of a simulation take seconds.
 *
 * @module
 */

import { setImmediate } from "node:timers";

interface Call {
  run: (() => void) | undefined;
}

/** A clock, and what happens at its ticks. */
export class VirtualTime {
  readonly #tickMs: number;
  readonly #calls = new Map<number, Call[]>();
  #tick = 0;

  /** @param tickMs What happens within a tick happens at its end. */
  constructor(tickMs: number) {
    this.#tickMs = tickMs;
  }

  /** Milliseconds since it began. */
  get now(): number {
    return this.#tick * this.#tickMs;
  }

  /** Calls some milliseconds later, a tick at least, unless it is cancelled by what it returns. */
  readonly after = (ms: number, run: () => void): () => void => {
    const tick = this.#tick + Math.max(1, Math.ceil(ms / this.#tickMs));
    const call: Call = { run };
    const calls = this.#calls.get(tick);
    if (calls === undefined) this.#calls.set(tick, [call]);
    else calls.push(call);
    return () => void (call.run = undefined);
  };

  /** Waits some milliseconds of this time. */
  readonly pause = (ms: number): Promise<void> =>
    new Promise((resolve) => void this.after(ms, resolve));

  /** Lets some milliseconds pass, with all that happens. `each` is called after each tick with events. */
  async pass(ms: number, each?: () => void): Promise<void> {
    const end = this.#tick + Math.ceil(ms / this.#tickMs);
    await settle();
    while (this.#tick < end) {
      const calls = this.#calls.get(++this.#tick);
      if (calls === undefined) continue;
      this.#calls.delete(this.#tick);
      for (const { run } of calls) run?.();
      await settle();
      each?.();
    }
  }

  /** Lets time pass until a promise has settled. */
  async until<T>(promise: Promise<T>, withinMs = 600_000): Promise<T> {
    let isSettled = false;
    const done = () => void (isSettled = true);
    promise.then(done, done);
    for (const end = this.now + withinMs; !isSettled; await this.pass(this.#tickMs)) {
      if (this.now > end) throw new Error(`it takes more than ${withinMs} ms`);
    }
    return await promise;
  }
}

/** Lets all microtasks run. */
function settle(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
