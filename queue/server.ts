/**
 * The state machine of one serving thread: completions in, requests to the data path, answers out.
 *
 * It owns a ring and a set of (queue, tag) slots, and does not know whether its thread blocks in
 * the kernel or runs an event loop (see `wait.ts`), nor how data travels (see `data_path.ts`).
 *
 * @module
 */

import { UBLK_IO_RES_ABORT, UBLK_IO_RES_NEED_GET_DATA, UBLK_IO_RES_OK } from "../uapi/ublk_io.ts";
import { monotonicUs } from "../uring/libc.ts";
import { Mapping, pageBytes } from "../uring/mapping.ts";
import type { Ring } from "../uring/ring.ts";
import { prepRead } from "../uring/sqe.ts";
import {
  CONTROL_DEADLINE_MS,
  CONTROL_ORDER,
  CONTROL_PROGRESS,
  CONTROL_SEEN,
  CONTROL_STATE,
  DRAIN_MS,
  ORDER_ABANDON,
  ORDER_DRAIN,
} from "./control_block.ts";
import type { DataPath } from "./data_path.ts";
import { LOG_DEBUG, LOG_ERROR, LOG_TRACE } from "./log_events.ts";
import type { LogWriter } from "./log_ring.ts";
import { KIND_BACKEND, KIND_IO, KIND_WAKE, type Slots } from "./slots.ts";

/** Synchronous requests are timed in one batch of so many: reading a clock costs as much as a null request. */
const TIMED_BATCHES = 64;

/** What a server works on. All of it belongs to the server's thread. */
export interface ServerParts {
  /** The ring, with room for an SQE per slot and one more. */
  readonly ring: Ring;
  /** The slots. */
  readonly slots: Slots;
  /** How data travels. */
  readonly path: DataPath;
  /** The log channel. */
  readonly log: LogWriter;
  /** The control block that the manager shares. */
  readonly control: Int32Array<SharedArrayBuffer>;
  /** The eventfd by which the manager wakes this thread. */
  readonly wakeFd: number;
}

/** Serves the slots of one thread. */
export class QueueServer implements Disposable {
  /** The ring. */
  readonly ring: Ring;
  /** The first error by which a tag was lost while the device lived; 0 if none was. */
  lostErrno = 0;
  /** The control block. */
  readonly control: Int32Array<SharedArrayBuffer>;

  readonly #slots: Slots;
  readonly #path: DataPath;
  readonly #log: LogWriter;
  readonly #wakeFd: number;
  // Where the kernel puts the wake-up eventfd's counter; mapped because an address pins nothing.
  readonly #wakeCounter = Mapping.anonymous(pageBytes());
  #batches = 0;
  #abandoned = false;
  #drainUs = 0;
  #failure: unknown;
  #submitScheduled = false;

  /** Takes over the parts. */
  constructor(parts: ServerParts) {
    this.ring = parts.ring;
    this.control = parts.control;
    this.#slots = parts.slots;
    this.#path = parts.path;
    this.#log = parts.log;
    this.#wakeFd = parts.wakeFd;
  }

  /** Whether there is anything left to serve. */
  get running(): boolean {
    return this.#slots.live > 0 && !this.#abandoned;
  }

  /** Requests that wait for a Promise of the backend. */
  get outstanding(): number {
    return this.#path.outstanding;
  }

  /**
   * Hands every slot to the kernel. The device can be started once each thread has done this.
   *
   * @returns 0, or the positive errno with which the kernel refused a slot.
   */
  fetch(): number {
    this.#listen();
    this.#slots.fetchAll(this.#path.addresses);
    while (this.ring.pending > 0) this.ring.enter(0);
    // A FETCH that is refused completes at once; one that is accepted completes with a request.
    this.process();
    return this.lostErrno;
  }

  /**
   * Handles every completion that is there. Answers are queued on the ring; the next `enter`
   * submits them. Allocates nothing, and throws only on a mistake of this program.
   *
   * @returns The number of completions.
   */
  process(): number {
    const ring = this.ring;
    const cqes = ring.cqes;
    const slots = this.#slots;
    const path = this.#path;
    let count = 0;
    slots.timed = (++this.#batches & (TIMED_BATCHES - 1)) === 0 || this.#log.level <= LOG_TRACE;
    for (let at = ring.peek(); at >= 0; at = ring.peek()) {
      const slot = cqes[at];
      const kind = cqes[at + 1];
      const result = cqes[at + 2];
      ring.seen();
      count++;
      if (kind === KIND_IO) {
        if (result === UBLK_IO_RES_OK) path.request(slot);
        else if (result === UBLK_IO_RES_NEED_GET_DATA) path.needData(slot);
        else this.#gone(slot, result);
        this.control[CONTROL_PROGRESS]++;
      } else if (kind === KIND_BACKEND) {
        path.operationDone!(slot, result);
        this.control[CONTROL_PROGRESS]++;
      } else if (kind === KIND_WAKE) {
        this.#woken();
      }
    }
    slots.timed = false;
    if (count > 0) slots.countBatch(count);
    return count;
  }

  /** Submits answers that were given outside of {@linkcode process}, once this turn's are all in. */
  readonly submitSoon = (): void => {
    if (this.#submitScheduled) return;
    this.#submitScheduled = true;
    queueMicrotask(() => {
      this.#submitScheduled = false;
      if (this.running && this.ring.pending > 0) this.guard(() => void this.ring.enter(0));
    });
  };

  /**
   * Runs what is called from outside of the loop, where whatever it throws would end the caller's
   * process: it ends the service instead, and {@linkcode check} throws it.
   */
  guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#failure ??= error;
      this.#abandoned = true;
    }
  }

  /** Throws what {@linkcode guard} has kept. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Answers what the backend has not answered by its deadline. */
  expire(): void {
    if (this.#path.outstanding === 0) return;
    const deadlineMs = Atomics.load(this.control, CONTROL_DEADLINE_MS);
    const nowUs = monotonicUs();
    // What was outstanding when a drain was ordered gets less time; what came later does not.
    const drained = this.#drainUs > 0 && nowUs - this.#drainUs > DRAIN_MS * 1e3;
    this.#path.expire(nowUs, deadlineMs * 1e3, drained ? this.#drainUs : 0);
  }

  /** Tells the manager's watch where this thread is. */
  enterState(state: number): void {
    this.control[CONTROL_STATE] = state;
  }

  #gone(slot: number, result: number): void {
    this.#slots.live--;
    if (result === UBLK_IO_RES_ABORT) return;
    // The kernel refused a command for this tag: no request will come for it any more.
    this.lostErrno ||= -result;
    const queue = this.#slots.queue(slot);
    this.#log.text(LOG_ERROR, `queue ${queue} tag ${this.#slots.tag(slot)} lost: errno ${-result}`);
  }

  #listen(): void {
    prepRead(this.ring, this.#wakeFd, this.#wakeCounter.address, 8, 0, 0, KIND_WAKE);
  }

  #woken(): void {
    const order = Atomics.load(this.control, CONTROL_ORDER);
    Atomics.store(this.control, CONTROL_SEEN, order);
    this.#log.text(LOG_DEBUG, `woken with order ${order}`);
    if ((order & ORDER_DRAIN) !== 0) this.#drainUs = monotonicUs();
    if ((order & ORDER_ABANDON) !== 0) this.#abandoned = true;
    else this.#listen();
  }

  /** Closes the ring; the kernel aborts what its tags still hold. */
  [Symbol.dispose](): void {
    this.#abandoned = true;
    this.ring[Symbol.dispose]();
    this.#path[Symbol.dispose]();
    this.#wakeCounter[Symbol.dispose]();
  }
}
