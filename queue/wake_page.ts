/**
 * The page for a serving thread's own operations, apart from requests. It holds the counter of the
 * eventfd that wakes the thread, and the length of the grace time. It is a mapping of its own,
 * because the address of a typed array would not keep that alive.
 *
 * @module
 */

import { Mapping, pageBytes } from "../uring/mapping.ts";
import type { Ring } from "../uring/ring.ts";
import { prepRead, prepTimeout } from "../uring/sqe.ts";
import { KIND_LEAVE, KIND_WAKE } from "./slots.ts";

/**
 * Grace time, in nanoseconds: once the kernel has returned one slot, it has this long to return the
 * others. Stopping a device returns all slots. Quiescing one skips slots that have a request at
 * that moment, and their next FETCH then waits for ever.
 */
const LEAVE_NS = 250_000_000n;
/** Offset of the grace time in the page, in bytes. It is a `struct __kernel_timespec`. */
const LEAVE_AT = 64;

/** The wake-up and the grace timer of a serving thread. */
export class WakePage implements Disposable {
  readonly #page = Mapping.anonymous(pageBytes());
  readonly #ring: Ring;
  readonly #wakeFd: number;

  /** Allocates the page. */
  constructor(ring: Ring, wakeFd: number) {
    this.#ring = ring;
    this.#wakeFd = wakeFd;
    new BigInt64Array(this.#page.buffer(LEAVE_AT, 16)).set([0n, LEAVE_NS]);
  }

  /** Waits for the eventfd. Its signal causes a completion of {@linkcode KIND_WAKE}. */
  listen(): void {
    prepRead(this.#ring, this.#wakeFd, this.#page.address, 8, 0, 0, KIND_WAKE);
  }

  /** Starts the grace timer. Its end causes a completion of {@linkcode KIND_LEAVE}. */
  giveTime(): void {
    this.#ring.reserve(1);
    prepTimeout(this.#ring, this.#page.address + LEAVE_AT, 0, 0, KIND_LEAVE);
  }

  /** Releases the page. */
  [Symbol.dispose](): void {
    this.#page[Symbol.dispose]();
  }
}
