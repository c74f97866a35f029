/**
 * The requests whose backend returned a Promise: since when, and which may still be answered. They
 * go by numbers that are used again and again, such as those of a queue's slots.
 *
 * @module
 */

/** Which requests wait for a Promise, and which Promises have been given up. */
export class AsyncRequests {
  /** Requests that wait for a Promise. */
  outstanding = 0;

  readonly #waiting: Uint8Array<ArrayBuffer>;
  readonly #startedUs: Float64Array<ArrayBuffer>;
  // How often a number has been used: a Promise that settles under an older generation is late, and
  // must answer nothing. A double counts on where 32 bits would wrap around.
  readonly #generation: Float64Array<ArrayBuffer>;
  readonly #late = new Map<string, () => void>();
  #closed = false;

  /** For the numbers 0 to `count` - 1. */
  constructor(count: number) {
    this.#waiting = new Uint8Array(count);
    this.#startedUs = new Float64Array(count);
    this.#generation = new Float64Array(count);
  }

  /** The request waits from now on. Returns what {@linkcode settle} must be called with. */
  begin(id: number, startedUs: number): number {
    this.#waiting[id] = 1;
    this.#startedUs[id] = startedUs;
    this.outstanding++;
    return ++this.#generation[id];
  }

  /**
   * The Promise of that request has settled.
   *
   * @returns Whether the request is still there to be answered.
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

  /** Gives up the request's Promise; `release` runs if it ever settles. */
  abandon(id: number, release: () => void): void {
    this.#waiting[id] = 0;
    this.outstanding--;
    this.#late.set(`${id}/${this.#generation[id]}`, release);
  }

  /** The requests that have waited longer than `deadlineUs`, or since before `givenUpUs`. */
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

  /** From now on every Promise is late, and releases nothing: the ring is gone. */
  close(): void {
    this.#closed = true;
  }
}
