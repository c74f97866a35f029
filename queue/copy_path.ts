/**
 * The plain data path: the kernel copies a WRITE's data into the slot's buffer before it hands the
 * request over, and a READ's data out of that buffer when it is answered. It serves every backend.
 *
 * @module
 */

import type { Backend } from "../backends/backend.ts";
import { EIO, ETIMEDOUT } from "../uapi/errno.ts";
import { AsyncRequests } from "./async_requests.ts";
import { SlotBuffers } from "./buffers.ts";
import type { DataPath } from "./data_path.ts";
import { LOG_WARN } from "./log_events.ts";
import type { LogWriter } from "./log_ring.ts";
import {
  carriesData,
  dataless,
  fullResult,
  isThenable,
  refusePromise,
  resultOf,
  resultOfThrown,
  transfer,
} from "./operations.ts";
import type { Slots } from "./slots.ts";

/** Serves a backend through one buffer per slot. */
export class CopyPath implements DataPath {
  readonly #backend: Backend;
  readonly #slots: Slots;
  readonly #buffers: SlotBuffers;
  readonly #async: AsyncRequests;
  readonly #log: LogWriter;
  readonly #mayAwait: boolean;
  readonly #answered: () => void;

  /**
   * @param mayAwait Whether Promises can settle on this thread while it serves.
   * @param answered Called when a request was answered outside of {@linkcode request}, so that
   *   the answer gets submitted.
   */
  constructor(
    backend: Backend,
    slots: Slots,
    maxIoBytes: number,
    mayAwait: boolean,
    log: LogWriter,
    answered: () => void,
  ) {
    this.#backend = backend;
    this.#slots = slots;
    this.#log = log;
    this.#mayAwait = mayAwait;
    this.#buffers = new SlotBuffers(slots.count, maxIoBytes);
    this.#async = new AsyncRequests(slots.count);
    this.#answered = answered;
  }

  get addresses(): Float64Array<ArrayBuffer> {
    return this.#buffers.addresses;
  }

  get outstanding(): number {
    return this.#async.outstanding;
  }

  request(slot: number): void {
    const slots = this.#slots;
    const opFlags = slots.opFlags(slot);
    const op = opFlags & 0xff;
    const bytes = slots.bytes(slot);
    if (slots.timed) slots.begin(slot);
    if (this.#buffers.quarantined >= slots.count) {
      // As many overdue requests as there are slots: the backend answers nothing any more, and
      // would only keep every further buffer too.
      this.#log.text(LOG_WARN, "the backend has too many overdue requests; answering EIO");
      return this.#slots.answer(slot, -EIO);
    }
    let result: number;
    try {
      const value = carriesData(op)
        ? transfer(this.#backend, opFlags, this.#buffers.view(slot, bytes), slots.offset(slot))
        : dataless(this.#backend, opFlags, slots.offset(slot), bytes);
      if (value === undefined) {
        result = fullResult(op, bytes);
      } else if (isThenable(value)) {
        if (this.#mayAwait) return this.#await(slot, value, fullResult(op, bytes));
        // The backend's code may go on after the loop has ended, with the buffer it was lent.
        if (carriesData(op)) this.#buffers.quarantine(slot);
        result = refusePromise(value, this.#log);
      } else {
        result = resultOf(value, fullResult(op, bytes), slots, slot, this.#log);
      }
    } catch (thrown) {
      result = resultOfThrown(thrown, slots, slot, this.#log);
    }
    this.#slots.answer(slot, result);
  }

  needData(slot: number): void {
    // Only a device with NEED_GET_DATA asks, and such a device has another path.
    this.#slots.answer(slot, -EIO);
  }

  #await(slot: number, promise: PromiseLike<unknown>, full: number): void {
    const slots = this.#slots;
    if (!slots.timed) slots.begin(slot);
    slots.stats(slot).inFlight++;
    const generation = this.#async.begin(slot, slots.startedUs(slot));
    // A Promise of our own guards against a thenable that throws, or that answers twice;
    // `Promise.resolve` would hand a Promise with a `then` of its own through as it is.
    new Promise((resolve) => resolve(promise)).then(
      (value) => {
        if (!this.#async.settle(slot, generation)) return;
        this.#finish(slot, resultOf(value, full, slots, slot, this.#log));
      },
      (thrown) => {
        if (!this.#async.settle(slot, generation)) return;
        this.#finish(slot, resultOfThrown(thrown, slots, slot, this.#log));
      },
    );
  }

  #finish(slot: number, result: number): void {
    this.#slots.stats(slot).inFlight--;
    this.#slots.answer(slot, result);
    this.#answered();
  }

  expire(nowUs: number, deadlineUs: number, givenUpUs?: number): number {
    const overdue = this.#async.overdue(nowUs, deadlineUs, givenUpUs);
    for (const slot of overdue) {
      const slots = this.#slots;
      // The late Promise may still write to the buffer: the slot goes on with another one. It comes
      // first because there may be no memory for that; then the request waits for the next check.
      const release = this.#buffers.quarantine(slot);
      this.#async.abandon(slot, release);
      this.#log.text(
        LOG_WARN,
        `queue ${slots.queue(slot)} tag ${slots.tag(slot)}: no answer from the backend in ` +
          `${Math.round((nowUs - slots.startedUs(slot)) / 1e3)} ms; answering ETIMEDOUT`,
      );
      slots.stats(slot).timeout();
      slots.stats(slot).inFlight--;
      this.#slots.answer(slot, -ETIMEDOUT);
    }
    if (overdue.length > 0) this.#answered();
    return overdue.length;
  }

  [Symbol.dispose](): void {
    this.#async.close();
    // A Promise that is still out may write to its buffer whenever it likes, and so may the kernel
    // to that of a slot that it still holds: a ring that is closed is cancelled only later.
    const inUse = this.#async.outstanding > 0 || this.#slots.live > 0;
    if (!inUse) this.#buffers[Symbol.dispose]();
  }
}
