/**
 * Tracks the requests whose backend returned a Promise: their start times, and whether they may
 * still be answered. Requests are identified by numbers that are reused, such as a queue's slots.
 *
 * The functions that listen to a Promise are made once per number, not per request, so that a
 * request makes as little garbage as possible. A number gets new ones only when its Promise is given
 * up, because that Promise may still settle.
 *
 * @module
 */

import { fail } from "../uapi/error.ts";
import { asPromise } from "./answers.ts";

/**
 * The requests of a thread that wait for Promises. A loop in that thread may await one of them at a
 * time itself: `then` makes twice the garbage of `await`, because it makes a Promise too.
 */
export interface HeldPromise {
  /** Whether the next request's Promise is held for the loop, instead of listened to. */
  holds: boolean;
  /** The Promise that nobody listens to yet. The loop awaits it, or calls {@linkcode listen}. */
  readonly held: Promise<unknown> | undefined;
  /** Takes the outcome of the Promise that was held. */
  settleHeld(value: unknown, isRejection: boolean): void;
  /** Listens to the Promise that was held, like to any other. */
  listen(): void;
}

/** Takes the outcomes of requests that were not given up. */
export interface Settled {
  /** The request's Promise was fulfilled. */
  fulfilled(id: number, value: unknown): void;
  /** The request's Promise was rejected. */
  rejected(id: number, reason: unknown): void;
}

/** The requests that wait for a Promise, and the Promises that were given up. */
export class AsyncRequests implements HeldPromise {
  /** Number of requests that wait for a Promise. */
  outstanding = 0;
  holds = false;
  held: Promise<unknown> | undefined = undefined;

  readonly #waiting: Uint8Array<ArrayBuffer>;
  readonly #startedUs: Float64Array<ArrayBuffer>;
  readonly #listeners: Listener[];
  readonly #settled: Settled;
  /** The request of the Promise that is held. */
  #heldId = -1;
  #closed = false;

  /** @param count The ids are 0 to `count` - 1. */
  constructor(count: number, settled: Settled) {
    this.#waiting = new Uint8Array(count);
    this.#startedUs = new Float64Array(count);
    this.#listeners = Array.from({ length: count }, (_, id) => new Listener(this, id));
    this.#settled = settled;
  }

  /**
   * Waits for a request's Promise or other thenable. Throws what a property of it throws that cannot
   * be read; the request does not wait then.
   */
  wait(id: number, promise: PromiseLike<unknown>, startedUs: number): void {
    if (this.#waiting[id] !== 0) fail("a number is used by one request at a time");
    // One of our own guards against a thenable that throws or settles twice.
    const own = isPlain(promise) ? promise : asPromise(promise);
    // Only one is held: the others would be unhandled, should they be rejected while it is awaited.
    if (this.holds && this.held === undefined) {
      this.held = own;
      this.#heldId = id;
    } else this.#listen(id, own);
    this.#waiting[id] = 1;
    this.#startedUs[id] = startedUs;
    this.outstanding++;
  }

  #listen(id: number, promise: Promise<unknown>): void {
    const { fulfilled, rejected } = this.#listeners[id];
    promise.then(fulfilled, rejected);
  }

  listen(): void {
    const { held } = this;
    if (held === undefined) return;
    this.held = undefined;
    try {
      this.#listen(this.#heldId, held);
    } catch (thrown) {
      this.#settle(this.#heldId, thrown, true);
    }
  }

  settleHeld(value: unknown, isRejection: boolean): void {
    if (this.held === undefined) fail("a Promise is held until it settles");
    this.held = undefined;
    if (!this.#closed) this.#settle(this.#heldId, value, isRejection);
  }

  /** Gives up a request's Promise. `release` runs if it ever settles. */
  abandon(id: number, release: () => void): void {
    if (this.#waiting[id] === 0) fail("what is given up was waited for");
    if (this.held !== undefined && this.#heldId === id) fail("and listened to");
    this.#listeners[id].release = release;
    this.#listeners[id] = new Listener(this, id);
    this.#waiting[id] = 0;
    this.outstanding--;
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

  /** Called by a listener: for its own Promise, and once. */
  settle(listener: Listener, id: number, value: unknown, isRejection: boolean): void {
    if (this.#closed) return;
    if (listener.release !== undefined) return listener.release();
    this.#settle(id, value, isRejection);
  }

  #settle(id: number, value: unknown, isRejection: boolean): void {
    if (this.#waiting[id] === 0) fail("a Promise settles once");
    this.#waiting[id] = 0;
    this.outstanding--;
    if (isRejection) this.#settled.rejected(id, value);
    else this.#settled.fulfilled(id, value);
  }
}

/** Listens to the Promises of one number, one after the other, until one is given up. */
class Listener {
  /** Set when its Promise is given up. */
  release: (() => void) | undefined = undefined;
  readonly fulfilled: (value: unknown) => void;
  readonly rejected: (reason: unknown) => void;

  constructor(requests: AsyncRequests, id: number) {
    this.fulfilled = (value) => requests.settle(this, id, value, false);
    this.rejected = (reason) => requests.settle(this, id, reason, true);
  }
}

/** Captured before a backend's module could replace it. */
const { then } = Promise.prototype;

/** Whether it is a Promise of the language whose `then` is the language's too. */
function isPlain(promise: PromiseLike<unknown>): promise is Promise<unknown> {
  return promise instanceof Promise && promise.then === then;
}
