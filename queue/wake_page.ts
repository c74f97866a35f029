/**
 * The page for a serving thread's own operations, apart from requests. It holds the counter of the
 * eventfd that wakes the thread, and the lengths of the grace time and of the tick. It is a mapping
 * of its own, because the address of a typed array would not keep that alive.
 *
 * @module
 */

import { Mapping, pageBytes } from "../uring/mapping.ts";
import type { Ring } from "../uring/ring.ts";
import { prepRead, prepTimeout } from "../uring/sqe.ts";
import { KIND_LEAVE, KIND_TICK, KIND_WAKE } from "./slots.ts";

/**
 * Grace time, in nanoseconds: once the kernel has returned one slot, it has this long to return the
 * others. Stopping a device returns all slots. Quiescing one skips slots that have a request at
 * that moment, and their next FETCH then waits for ever.
 */
const LEAVE_NS = 250_000_000n;
/** Offset of the grace time in the page, in bytes. It is a `struct __kernel_timespec`. */
const LEAVE_AT = 64;

/**
 * The tick, in nanoseconds. It is no shorter than the tick of the kernel's timer (4 ms on most
 * kernels), because for a shorter one the kernel programs the timer's hardware.
 */
const TICK_NS = 4_000_000n;
/** Offset of the tick's time in the page, in bytes. */
const TICK_AT = 128;

/** The wake-up, the grace timer and the tick of a serving thread. */
export class WakePage implements Disposable {
  readonly #page = Mapping.anonymous(pageBytes());
  readonly #ring: Ring;
  readonly #wakeFd: number;

  /** Allocates the page. */
  constructor(ring: Ring, wakeFd: number) {
    this.#ring = ring;
    this.#wakeFd = wakeFd;
    new BigInt64Array(this.#page.buffer(LEAVE_AT, 16)).set([0n, LEAVE_NS]);
    new BigInt64Array(this.#page.buffer(TICK_AT, 16)).set([0n, TICK_NS]);
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

  /** Starts the tick. Its end causes a completion of {@linkcode KIND_TICK}. */
  tick(): void {
    this.#ring.reserve(1);
    prepTimeout(this.#ring, this.#page.address + TICK_AT, 0, 0, KIND_TICK);
  }

  /** Releases the page. */
  [Symbol.dispose](): void {
    this.#page[Symbol.dispose]();
  }
}
