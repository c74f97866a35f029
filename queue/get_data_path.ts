/**
 * The data path of a backend whose contents are this process's memory, on a device with
 * `UBLK_F_NEED_GET_DATA`: the kernel copies straight between the request and that memory, in both
 * directions, and nothing is copied in user space.
 *
 * A READ is answered with the address of its data. The driver takes the address of a
 * COMMIT_AND_FETCH for two things: it copies this READ's data from there, and it would copy the
 * tag's next WRITE to there. Without NEED_GET_DATA the second would corrupt the disk. With it a
 * WRITE is first announced without data, and only then, knowing its offset, we say where it goes.
 *
 * @module
 */

import type { Backend } from "../backends/backend.ts";
import { EIO } from "../uapi/errno.ts";
import { UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import type { DataPath } from "./data_path.ts";
import { LOG_ERROR } from "./log_events.ts";
import type { LogWriter } from "./log_ring.ts";
import { dataless, isThenable, refusePromise, resultOf, resultOfThrown } from "./operations.ts";
import type { Slots } from "./slots.ts";

/** Serves a `synchronous` backend that has an `address`. */
export class GetDataPath implements DataPath {
  readonly addresses: Float64Array<ArrayBuffer>;
  readonly outstanding = 0;

  readonly #backend: Backend;
  readonly #base: number;
  readonly #slots: Slots;
  readonly #log: LogWriter;
  readonly #expectedBytes: Float64Array<ArrayBuffer>;

  /** The backend's `address` must stay mapped until the last slot is gone. */
  constructor(backend: Backend, slots: Slots, log: LogWriter) {
    this.#backend = backend;
    this.#base = backend.address!;
    this.#slots = slots;
    this.#log = log;
    this.#expectedBytes = new Float64Array(slots.count);
    this.addresses = new Float64Array(slots.count);
  }

  request(slot: number): void {
    const slots = this.#slots;
    const opFlags = slots.opFlags(slot);
    const op = opFlags & 0xff;
    if (op === UBLK_IO_OP_WRITE) return this.#dataArrived(slot);
    if (slots.timed) slots.begin(slot);
    if (op === UBLK_IO_OP_READ) {
      this.addresses[slot] = this.#base + slots.offset(slot);
      return slots.answer(slot, slots.bytes(slot));
    }
    let result = 0;
    try {
      const value = dataless(this.#backend, opFlags, slots.offset(slot), slots.bytes(slot));
      if (isThenable(value)) result = refusePromise(value, this.#log);
      else if (value !== undefined) result = resultOf(value, 0, slots, slot, this.#log);
    } catch (thrown) {
      result = resultOfThrown(thrown, slots, slot, this.#log);
    }
    this.addresses[slot] = 0;
    slots.answer(slot, result);
  }

  needData(slot: number): void {
    const slots = this.#slots;
    if (slots.timed) slots.begin(slot);
    this.#expectedBytes[slot] = slots.bytes(slot);
    this.addresses[slot] = this.#base + slots.offset(slot);
    slots.getData(slot);
  }

  // On this path a WRITE is announced through needData, and handed over once its data has arrived.
  // What tells the two apart is the operation and not which command was completed: a copy that
  // finds no memory at all takes the WRITE off the tag, and the driver then completes the GET_DATA
  // that it still holds with whatever the tag gets next (`ublk_start_io` and `ublk_get_data`).
  #dataArrived(slot: number): void {
    const slots = this.#slots;
    const bytes = slots.bytes(slot);
    const expected = this.#expectedBytes[slot];
    this.#expectedBytes[slot] = 0;
    // A copy that stops half way (no memory for a page) reports success and shrinks the
    // descriptor, so the length is read again.
    if (bytes === expected) return slots.answer(slot, bytes);
    this.#log.text(
      LOG_ERROR,
      `queue ${slots.queue(slot)} tag ${slots.tag(slot)}: the kernel copied ${bytes} of ` +
        `${expected} bytes; is memory exhausted?`,
    );
    slots.answer(slot, -EIO);
  }

  expire(): number {
    return 0;
  }

  [Symbol.dispose](): void {}
}
