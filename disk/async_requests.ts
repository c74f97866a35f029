/**
 * Tracks the requests whose backend returned a Promise: their start times, and whether they may
 * still be answered. Requests are identified by numbers that are reused, such as a queue's slots.
 *
 * @module
 */

/** The requests that wait for a Promise, and the Promises that were given up. */
export class AsyncRequests {
  /** Number of requests that wait for a Promise. */
  outstanding = 0;

  readonly #waiting: Uint8Array<ArrayBuffer>;
  readonly #startedUs: Float64Array<ArrayBuffer>;
  // The number of uses of each id. A Promise that settles under an older generation is late and
  // must not answer. Doubles, because 32 bits would wrap around.
  readonly #generation: Float64Array<ArrayBuffer>;
  readonly #late = new Map<string, () => void>();
  #closed = false;

  /** @param count The ids are 0 to `count` - 1. */
  constructor(count: number) {
    this.#waiting = new Uint8Array(count);
    this.#startedUs = new Float64Array(count);
    this.#generation = new Float64Array(count);
  }

  /** Notes that a request waits. Returns the generation to pass to {@linkcode settle}. */
  begin(id: number, startedUs: number): number {
    this.#waiting[id] = 1;
    this.#startedUs[id] = startedUs;
    this.outstanding++;
    return ++this.#generation[id];
  }

  /**
   * Notes that a request's Promise has settled.
   *
   * @returns Whether the request is still unanswered, so the caller must answer it.
   */
  settle(id: number, generation: number): boolean {
    if (this.#closed) return false;
    if (this.#waiting[id] === 1 && this.#generation[id] === generation) {
      this.#waiting[id] = 0;
      this.outstanding--;
      return true;
    }
    const key = `${id}/${generation}`;
    const release = this.#late.get(key);
    this.#late.delete(key);
    release?.();
    return false;
  }

  /** Gives up a request's Promise. `release` runs if it ever settles. */
  abandon(id: number, release: () => void): void {
    this.#waiting[id] = 0;
    this.outstanding--;
    this.#late.set(`${id}/${this.#generation[id]}`, release);
  }

  /** Lists the requests that have waited longer than `deadlineUs`, or since before `givenUpUs`. */
  overdue(nowUs: number, deadlineUs: number, givenUpUs = 0): number[] {
    const found: number[] = [];
    if (this.outstanding === 0) return found;
    for (let id = 0; id < this.#waiting.length; id++) {
      if (this.#waiting[id] === 0) continue;
      const startedUs = this.#startedUs[id];
      if (nowUs - startedUs > deadlineUs || startedUs < givenUpUs) found.push(id);
    }
    return found;
  }

  /**
   * Makes every Promise late from now on. Nothing is released any more, because the ring is gone.
   */
  close(): void {
    this.#closed = true;
  }
}
