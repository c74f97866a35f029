/**
 * The handler for a backend whose contents are in this process's memory. The data path moves data
 * directly to and from that memory, so reads and writes need no further work.
 *
 * @module
 */

import { isLater } from "../disk/answers.ts";
import { assert, fail } from "../uapi/error.ts";
import type { Backend } from "../disk/backend.ts";
import { dataless, refusePromise, resultOf, resultOfThrown } from "../disk/calls.ts";
import { carriesData } from "../disk/operations.ts";
import { EIO } from "../uapi/errno.ts";
import { Mapping, pageAlign } from "../uring/mapping.ts";
import type { DataPath, Handler, Places } from "./data_path.ts";
import type { LogWriter } from "./log_ring.ts";
import { SlotFaults } from "./slot_faults.ts";
import type { Slots } from "./slots.ts";

/** Places in a backend's memory. */
export class DirectMemory implements Places {
  readonly addresses: Float64Array<ArrayBuffer>;
  readonly #backend: Backend;
  readonly #slots: Slots;
  /**
   * A dummy place for requests that are outside of the backend's memory, in case the kernel was
   * told that the disk is larger than it is. Also used in commands that need no address, because
   * the driver refuses a zero in some of them.
   */
  readonly #nowhere: Mapping;

  /** Uses the backend's memory, which must stay mapped until the last slot is gone. */
  constructor(backend: Backend, slots: Slots, maxIoBytes: number) {
    assert(
      backend.address !== undefined && backend.address > 0,
      "the backend's memory is somewhere",
    );
    this.#backend = backend;
    this.#slots = slots;
    this.#nowhere = Mapping.anonymous(pageAlign(maxIoBytes));
    this.addresses = new Float64Array(slots.count).fill(this.#nowhere.address);
  }

  locate(slot: number): boolean {
    const offset = this.#slots.offset(slot);
    const backend = this.#backend;
    const bytes = this.#slots.bytes(slot);
    const inside = offset + bytes <= backend.size;
    this.addresses[slot] = inside ? backend.address! + offset : this.#nowhere.address;
    // A FLUSH needs no place: the block layer sends it with sector 2^64 - 1 (`blk_rq_init`).
    return inside || bytes === 0;
  }

  address(slot: number): number {
    return this.addresses[slot];
  }

  bufferIndex(): number {
    return -1;
  }

  view(): never {
    fail("nobody looks at data that is in its place");
  }

  [Symbol.dispose](): void {
    // The kernel may still write to the address of an aborted command.
    if (this.#slots.live > 0) return;
    this.#nowhere[Symbol.dispose]();
  }
}

/** Answers for a `synchronous` backend that has an `address`. */
export class MemoryHandler implements Handler {
  readonly outstanding = 0;
  /** The data path, which takes the answers. */
  path!: DataPath;
  readonly #backend: Backend;
  readonly #slots: Slots;
  readonly #faults: SlotFaults;

  /** Expects WRITE data to be moved before the request arrives, and READ data after its answer. */
  constructor(backend: Backend, slots: Slots, log: LogWriter) {
    this.#backend = backend;
    this.#slots = slots;
    this.#faults = new SlotFaults(slots, log);
  }

  handle(slot: number): void {
    const slots = this.#slots;
    const opFlags = slots.opFlags(slot);
    if (carriesData(opFlags & 0xff)) return this.path.finish(slot, slots.bytes(slot));
    let result = 0;
    try {
      const offset = slots.offset(slot);
      const bytes = slots.bytes(slot);
      const beyond = bytes > 0 && offset + bytes > this.#backend.size;
      if (beyond) return this.path.finish(slot, -EIO);
      const value = dataless(this.#backend, opFlags, offset, bytes);
      if (isLater(value)) result = refusePromise(value, this.#faults);
      else if (value !== undefined) result = resultOf(value, 0, slot, this.#faults);
    } catch (thrown) {
      result = resultOfThrown(thrown, slot, this.#faults);
    }
    this.path.finish(slot, result);
  }

  expire(): number {
    return 0;
  }

  [Symbol.dispose](): void {}
}
