/**
 * The page of a serving thread that the kernel reads and writes besides requests: the counter of the
 * eventfd by which the thread is woken, and the time that slots have to be given back. Mapped, because
 * an address pins nothing.
 *
 * @module
 */

import { Mapping, pageBytes } from "../uring/mapping.ts";
import type { Ring } from "../uring/ring.ts";
import { prepRead, prepTimeout } from "../uring/sqe.ts";
import { KIND_LEAVE, KIND_WAKE } from "./slots.ts";

/**
 * How long, in nanoseconds, the kernel gets to give back every slot once it has given back one. When
 * a device is stopped it gives back all. When one is quiesced it does not look at slots that have a
 * request at that time, whose next FETCH then waits for ever.
 */
const LEAVE_NS = 250_000_000n;
/** Where in the page that time stands, as a `struct __kernel_timespec`, in bytes. */
const LEAVE_AT = 64;

/** What a serving thread waits for besides requests. */
export class WakePage implements Disposable {
  readonly #page = Mapping.anonymous(pageBytes());
  readonly #ring: Ring;
  readonly #wakeFd: number;

  /** Takes the page. */
  constructor(ring: Ring, wakeFd: number) {
    this.#ring = ring;
    this.#wakeFd = wakeFd;
    new BigInt64Array(this.#page.buffer(LEAVE_AT, 16)).set([0n, LEAVE_NS]);
  }

  /** Waits for the eventfd: a completion of {@linkcode KIND_WAKE}. */
  listen(): void {
    prepRead(this.#ring, this.#wakeFd, this.#page.address, 8, 0, 0, KIND_WAKE);
  }

  /** Waits until the time to be given back slots is over: a completion of {@linkcode KIND_LEAVE}. */
  giveTime(): void {
    this.#ring.reserve(1);
    prepTimeout(this.#ring, this.#page.address + LEAVE_AT, 0, 0, KIND_LEAVE);
  }

  /** Gives the page back. */
  [Symbol.dispose](): void {
    this.#page[Symbol.dispose]();
  }
}
