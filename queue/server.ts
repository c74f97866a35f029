/**
 * The state machine of one serving thread. It reads completions, hands requests to the data path
 * and queues answers.
 *
 * It owns a ring and a set of (queue, tag) slots. It does not know whether its thread blocks in the
 * kernel or runs an event loop (see `wait.ts`), nor how data travels (see `data_path.ts`).
 *
 * @module
 */

import type { HeldPromise } from "../disk/async_requests.ts";
import { UBLK_IO_RES_ABORT, UBLK_IO_RES_NEED_GET_DATA, UBLK_IO_RES_OK } from "../uapi/ublk_io.ts";
import { EBUSY } from "../uapi/errno.ts";
import { monotonicUs } from "../uring/libc.ts";
import type { Ring } from "../uring/ring.ts";
import { assert } from "../uapi/error.ts";
import {
  CONTROL_BLOCK_BYTES,
  CONTROL_DEADLINE_MS,
  CONTROL_ORDER,
  CONTROL_PROGRESS,
  CONTROL_SEEN,
  CONTROL_STATE,
  DRAIN_MS,
  ORDER_ABANDON,
  ORDER_DRAIN,
  ORDER_LEAVE,
  THREAD_IDLE,
  THREAD_IN_KERNEL,
  THREAD_IN_USER,
  wakeWatch,
} from "./control_block.ts";
import type { Assembly } from "./assembly.ts";
import type { DataPath, Express, Handler } from "./data_path.ts";
import { EXPRESS_FROM } from "./express.ts";
import { LOG_DEBUG, LOG_ERROR, LOG_TRACE } from "./log_events.ts";
import type { LogWriter } from "./log_ring.ts";
import type { Resizer } from "./resize.ts";
import {
  KIND_ASK,
  KIND_BACKEND,
  KIND_BATCH,
  KIND_IO,
  KIND_LEAVE,
  KIND_PATH,
  KIND_TICK,
  KIND_WAKE,
  KIND_WOKEN,
  type Slots,
} from "./slots.ts";
import { WakePage } from "./wake_page.ts";

// V8 inlines constants of this module. It loads and checks an imported one on each use.
const IO = KIND_IO;
const BACKEND = KIND_BACKEND;
const PROGRESS = CONTROL_PROGRESS;
const OK = UBLK_IO_RES_OK;
const PATH = KIND_PATH;
const BATCH = KIND_BATCH;
const STATE = CONTROL_STATE;
const IDLE = THREAD_IDLE;
const IN_KERNEL = THREAD_IN_KERNEL;
const IN_USER = THREAD_IN_USER;
const EXPRESS = EXPRESS_FROM;
const TRACE = LOG_TRACE;
const ABORT = UBLK_IO_RES_ABORT;
const NEED_DATA = UBLK_IO_RES_NEED_GET_DATA;
/** Mask of the word index of a CQE. */
const CQE_INDEX_BITS = 0xfffff;

/**
 * Synchronous requests are timed in one batch out of this many: reading the clock costs as much as
 * a null request.
 */
const TIMED_BATCHES = 64;

/** Interval at which an ending thread checks whether its time is up, in microseconds. */
const END_CHECK_US = 100_000;

/** The parts of a server. All of them belong to the server's thread. */
export interface ServerParts {
  /** The ring, with room for an SQE per slot and one more. */
  readonly ring: Ring;
  /** The slots. */
  readonly slots: Slots;
  /** The data path and the handler. The server disposes of them. */
  readonly parts: Assembly;
  /** The log channel. */
  readonly log: LogWriter;
  /** The control block, shared with the manager. */
  readonly control: Int32Array<SharedArrayBuffer>;
  /** The eventfd with which the manager wakes this thread. */
  readonly wakeFd: number;
  /** Carries out the manager's orders to resize the backend. */
  readonly resizer?: Resizer;
}

/** Serves the slots of one thread. */
export class QueueServer implements Disposable {
  /** The ring. */
  readonly ring: Ring;
  /** The errno of the first lost tag while the device was live; 0 if none was lost. */
  lostErrno = 0;
  /** The control block. */
  readonly control: Int32Array<SharedArrayBuffer>;
  /** Wakes the loop while it sleeps: called for each answer outside of {@linkcode process}. */
  onAnswer: (() => void) | undefined = undefined;
  /** The tick was among the completions of the last {@linkcode process}. */
  ticked = false;

  readonly #slots: Slots;
  readonly #parts: Assembly;
  readonly #path: DataPath;
  readonly #handler: Handler;
  readonly #log: LogWriter;
  readonly #wakePage: WakePage;
  #express: Express | undefined;
  #batches = 0;
  /** The batch's completions, and the next of them to handle. */
  #count = 0;
  #next = 0;
  readonly #resizer: Resizer | undefined;
  readonly #promises: HeldPromise | undefined;
  /** Every request is timed, because the handler needs its start time. */
  readonly #timesAll: boolean;
  /** The handler is told of the end of each batch. */
  readonly #endsBatches: boolean;
  #abandoned = false;
  /** The kernel has returned a slot, so this server has lost the device. */
  #leaving = false;
  /** The grace timer is running. */
  #graceRunning = false;
  /** The grace time is over: the kernel will not return the remaining slots. */
  #overdue = false;
  #drainUs = 0;
  /** The tick's timer is under way. */
  #ticks = false;
  #failure: unknown;

  /** Takes over the parts. */
  constructor(parts: ServerParts) {
    assert(parts.control.byteLength === CONTROL_BLOCK_BYTES, "the manager has made the block");
    assert(parts.wakeFd >= 0, "and the eventfd");
    this.ring = parts.ring;
    this.control = parts.control;
    this.#slots = parts.slots;
    this.#parts = parts.parts;
    this.#path = parts.parts.path;
    this.#handler = parts.parts.handler;
    this.#promises = this.#handler.promises;
    this.#timesAll = this.#handler.timesAll === true;
    this.#endsBatches = this.#handler.batchEnd !== undefined;
    this.#log = parts.log;
    this.#wakePage = new WakePage(parts.ring, parts.wakeFd);
    this.#resizer = parts.resizer;
  }

  /** Whether anything is left to serve. */
  get running(): boolean {
    if (this.#abandoned) return false;
    const { live, held } = this.#slots;
    return this.#leaving ? held > 0 || live > 0 && !this.#overdue : live > 0;
  }

  /** Requests that the handler has not answered yet. */
  get outstanding(): number {
    return this.#handler.outstanding;
  }

  /** Whether requests are outstanding after an order to drain. */
  get draining(): boolean {
    return this.#drainUs > 0 && this.#handler.outstanding > 0;
  }

  /**
   * Hands every slot to the kernel. The device can start once every thread has done this.
   *
   * @param before Called before each tag. The kernel already has all earlier tags then.
   * @returns 0, or the positive errno with which the kernel refused a slot.
   */
  fetch(before?: (queue: number, tag: number) => void): number {
    assert(this.#slots.live === 0, "slots are handed to the kernel once");
    this.#wakePage.listen();
    this.#handler.start?.();
    this.#slots.fetchAll(this.#path.commands, before);
    this.#express = this.#handler.express?.();
    while (this.ring.pending > 0) this.ring.enter(0);
    // A refused FETCH completes at once. An accepted one completes when a request arrives.
    this.process();
    return this.lostErrno;
  }

  /** The Promises of requests, if the handler may have some. */
  get promises(): HeldPromise | undefined {
    return this.#promises;
  }

  /**
   * Handles every completion in the ring. Answers are queued; the next `enter` submits them.
   * Allocates nothing, and throws only if an assertion fails. Pauses at a request whose Promise is
   * held; {@linkcode proceed} goes on.
   *
   * @returns The number of completions, apart from the tick; less if it pauses.
   */
  process(): number {
    const slots = this.#slots;
    slots.timed = (++this.#batches & (TIMED_BATCHES - 1)) === 0 || this.#timesAll ||
      this.#log.level <= TRACE;
    slots.mayFollow = slots.canFollow && !slots.timed && !this.#leaving && this.#drainUs === 0;
    this.#count = this.ring.ready();
    this.#next = 0;
    this.ticked = false;
    return this.proceed();
  }

  /** Goes on with a batch. See {@linkcode process}. */
  proceed(): number {
    const ring = this.ring;
    const cqes = ring.cqes;
    const slots = this.#slots;
    const path = this.#path;
    const promises = this.#promises;
    const { control } = this;
    const count = this.#count;
    const express = count >= EXPRESS && !slots.timed ? this.#express : undefined;
    for (let nth = this.#next; nth < count; nth++) {
      if (express !== undefined) {
        nth = express(nth, count);
        control[PROGRESS]++;
        if (nth === count) break;
      }
      const at = ring.cqeWord(nth) & CQE_INDEX_BITS;
      const slot = cqes[at];
      const kind = cqes[at + 1];
      const result = cqes[at + 2];
      if (kind === IO) {
        if (result === OK) {
          slots.requestArrived(slot);
          path.request(slot);
        } else if (result === NEED_DATA) {
          slots.requestArrived(slot);
          path.needData!(slot);
        } else this.#returnedByKernel(slot, result);
        control[PROGRESS]++;
      } else if (kind === BACKEND) {
        this.#handler.operationDone!(slot, result);
        control[PROGRESS]++;
      } else if ((kind & 0xff) === PATH) {
        path.operationDone!(slot, result, kind >>> 8);
        control[PROGRESS]++;
      } else if ((kind & 0xff) === BATCH) {
        // Not as the operand of `||=`, which would skip the call once a tag is lost.
        const lost = slots.batchDone(slot, kind >>> 8, result, cqes[at + 3]);
        this.lostErrno ||= lost;
        if (result === ABORT) this.#leave();
        control[PROGRESS]++;
      } else if (kind === KIND_WAKE) {
        this.#woken();
      } else if (kind === KIND_TICK) {
        this.#ticks = false;
        this.ticked = true;
      } else if (kind === KIND_LEAVE) {
        this.#timeIsUp();
      } else if (kind === KIND_ASK) {
        this.#answeredOrNot(slot, result);
      } else if (kind === KIND_WOKEN) {
        this.#handler.woken!(result);
        control[PROGRESS]++;
      }
      if (promises !== undefined && promises.held !== undefined) {
        this.#next = nth + 1;
        return nth;
      }
    }
    ring.seen(count);
    if (this.#endsBatches) this.#handler.batchEnd!();
    slots.flush();
    slots.timed = false;
    if (promises !== undefined) slots.endBatch();
    const done = this.ticked ? count - 1 : count;
    if (done > 0) slots.countBatch(done);
    return done;
  }

  /** Starts the tick, unless it runs. */
  startTick(): void {
    if (this.#ticks) return;
    this.#ticks = true;
    this.#wakePage.tick();
  }

  /** Queues commands for the answers given outside of {@linkcode process}. */
  flush(): void {
    this.#slots.flush();
  }

  /** Notes that a request was answered outside of {@linkcode process}. The loop submits it. */
  readonly answered = (): void => this.onAnswer?.();

  /**
   * Runs a callback from outside of the loop. An exception there would end the caller's process. So
   * it ends the service instead, and {@linkcode check} throws it.
   */
  guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#failure ??= error;
      this.#abandoned = true;
    }
  }

  /** Throws the exception that {@linkcode guard} caught, if any. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Answers requests that the backend has not answered by their deadline. */
  expire(): void {
    if (this.#handler.outstanding === 0) return;
    const deadlineMs = Atomics.load(this.control, CONTROL_DEADLINE_MS);
    const nowUs = monotonicUs();
    // Requests that were outstanding when the drain began get less time; later ones do not.
    const drained = this.#drainUs > 0 && nowUs - this.#drainUs > DRAIN_MS * 1e3;
    this.#handler.expire(nowUs, deadlineMs * 1e3, drained ? this.#drainUs : 0);
  }

  /** Shows this thread's state to the manager's watch. */
  enterState(state: number): void {
    this.control[STATE] = state;
  }

  /** Notes that the thread is about to block in the kernel. */
  sleep(): void {
    // If operations have deadlines, the watch must wake this thread to check them.
    const isBusy = this.#timesAll && this.#handler.outstanding > 0;
    this.control[STATE] = isBusy ? IN_KERNEL : IDLE;
  }

  /** Notes that the thread is back from the kernel. */
  awake(): void {
    const { control } = this;
    control[STATE] = IN_USER;
    wakeWatch(control);
  }

  #returnedByKernel(slot: number, result: number): void {
    this.#slots.commandReturned();
    this.#slots.requestLeft(slot);
    this.#handler.returnedByKernel?.(slot);
    if (result === ABORT) return this.#leave();
    // The kernel refused a command for this tag, so no more requests will arrive on it.
    this.lostErrno ||= -result;
    const queue = this.#slots.queue(slot);
    this.#log.text(LOG_ERROR, `queue ${queue} tag ${this.#slots.tag(slot)} lost: errno ${-result}`);
  }

  /** Stops taking requests, and answers those it has. See {@linkcode WakePage.giveTime}. */
  #leave(): void {
    if (this.#leaving) return;
    this.#leaving = true;
    this.#giveTime();
  }

  #giveTime(): void {
    if (this.#graceRunning) return;
    this.#graceRunning = true;
    this.#wakePage.giveTime();
  }

  /** Ends the grace time. Slots still out come back only if their answer is under way. */
  #timeIsUp(): void {
    this.#graceRunning = false;
    this.#overdue = true;
    this.#slots.ask();
  }

  #answeredOrNot(slot: number, result: number): void {
    if (result !== -EBUSY) return this.#giveTime();
    this.#slots.requestLeft(slot);
    this.#handler.returnedByKernel?.(slot);
  }

  /** Submits the last answers, and waits for operations that outlive their requests. */
  finish(): void {
    if (this.#abandoned) return;
    this.#slots.flush();
    while (this.ring.pending > 0) this.ring.enter(0);
    const handler = this.#handler;
    if (handler.end === undefined) return;
    const untilUs = monotonicUs() + DRAIN_MS * 1e3;
    while (handler.end() > 0 && monotonicUs() < untilUs) {
      this.ring.enterTimeout(1, END_CHECK_US);
      this.process();
    }
  }

  #woken(): void {
    const order = Atomics.load(this.control, CONTROL_ORDER);
    Atomics.store(this.control, CONTROL_SEEN, order);
    this.#log.text(LOG_DEBUG, `woken with order ${order}`);
    if ((order & ORDER_DRAIN) !== 0) {
      this.#drainUs = monotonicUs();
      this.#handler.drain?.();
    }
    if ((order & ORDER_LEAVE) !== 0) this.#leave();
    this.#resizer?.look();
    if (this.#timesAll) this.expire();
    if ((order & ORDER_ABANDON) !== 0) this.#abandoned = true;
    else this.#wakePage.listen();
  }

  /** Closes the ring. The kernel aborts the requests that its tags still hold. */
  [Symbol.dispose](): void {
    this.#abandoned = true;
    this.ring[Symbol.dispose]();
    this.#parts[Symbol.dispose]();
    this.#wakePage[Symbol.dispose]();
  }
}
