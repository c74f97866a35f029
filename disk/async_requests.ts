/**
 * The requests whose backend returned a Promise: since when, and which may still be answered. They
 * go by numbers that are used again and again, such as those of a queue's slots.
 *
 * @module
 */

/** Which slots wait for a Promise, and which Promises have been given up. */
export class AsyncRequests {
  /** Slots that wait for a Promise. */
  outstanding = 0;

  readonly #waiting: Uint8Array<ArrayBuffer>;
  readonly #startedUs: Float64Array<ArrayBuffer>;
  // A slot's number of the request that it waits for: a Promise that settles under an older
  // number is late, and must answer nothing. A double counts on where 32 bits would wrap around.
  readonly #generation: Float64Array<ArrayBuffer>;
  readonly #late = new Map<string, () => void>();
  #closed = false;

  /** For slots 0 to `slots` - 1. */
  constructor(slots: number) {
    this.#waiting = new Uint8Array(slots);
    this.#startedUs = new Float64Array(slots);
    this.#generation = new Float64Array(slots);
  }

  /** The slot waits from now on. Returns what {@linkcode settle} must be called with. */
  begin(slot: number, startedUs: number): number {
    this.#waiting[slot] = 1;
    this.#startedUs[slot] = startedUs;
    this.outstanding++;
    return ++this.#generation[slot];
  }

  /**
   * The Promise of that request has settled.
   *
   * @returns Whether the request is still there to be answered.
   */
  settle(slot: number, generation: number): boolean {
    if (this.#closed) return false;
    if (this.#waiting[slot] === 1 && this.#generation[slot] === generation) {
      this.#waiting[slot] = 0;
      this.outstanding--;
      return true;
    }
    const key = `${slot}/${generation}`;
    const release = this.#late.get(key);
    this.#late.delete(key);
    release?.();
    return false;
  }

  /** Gives up the slot's Promise; `release` runs if it ever settles. */
  abandon(slot: number, release: () => void): void {
    this.#waiting[slot] = 0;
    this.outstanding--;
    this.#late.set(`${slot}/${this.#generation[slot]}`, release);
  }

  /** The slots that have waited longer than `deadlineUs`, or since before `givenUpUs`. */
  overdue(nowUs: number, deadlineUs: number, givenUpUs = 0): number[] {
    const slots: number[] = [];
    if (this.outstanding === 0) return slots;
    for (let slot = 0; slot < this.#waiting.length; slot++) {
      if (this.#waiting[slot] === 0) continue;
      const startedUs = this.#startedUs[slot];
      if (nowUs - startedUs > deadlineUs || startedUs < givenUpUs) slots.push(slot);
    }
    return slots;
  }

  /** From now on every Promise is late, and releases nothing: the ring is gone. */
  close(): void {
    this.#closed = true;
  }
}
