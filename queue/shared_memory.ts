/**
 * Shared-memory zero copy (`UBLK_F_SHMEM_ZC`). A client that does direct I/O from memory shared
 * with this server sends no data. The driver finds the pages among the registered ones, and the
 * request names the buffer and the offset in it.
 *
 * Each request may or may not use shared memory, so this path wraps another one.
 *
 * @module
 */

import { assert, fail } from "../uapi/error.ts";
import { EIO } from "../uapi/errno.ts";
import { UBLK_SHMEM_ZC_IDX_MASK } from "../uapi/ublk_buf.ts";
import { UBLK_IO_F_SHMEM_ZC } from "../uapi/ublk_io.ts";
import { bufferAt } from "../uring/mapping.ts";
import type { DataPath, Handler, SlotPlaces } from "./data_path.ts";
import { LOG_ERROR } from "./log_events.ts";
import type { LogWriter } from "./log_ring.ts";
import type { Slots } from "./slots.ts";

/** Memory that clients share with the server, mapped in this process. */
export interface SharedBuffer {
  /** The index that `REG_BUF` returned. */
  readonly index: number;
  /** The address of the mapping. */
  readonly address: number;
  /** Length in bytes. */
  readonly bytes: number;
}

/** The slots whose data is in shared memory, with its addresses. */
export class SharedMemory {
  readonly #slots: Slots;
  readonly #buffers: readonly SharedBuffer[];
  /** Per slot, the address of the shared data; 0 if the data is not shared. */
  readonly #addresses: Float64Array<ArrayBuffer>;

  /** Takes the buffers. They must stay mapped until the last slot is gone. */
  constructor(slots: Slots, buffers: readonly SharedBuffer[]) {
    for (const { address, bytes } of buffers) assert(address > 0 && bytes > 0, "memory is mapped");
    this.#slots = slots;
    this.#buffers = buffers;
    this.#addresses = new Float64Array(slots.count);
  }

  /** Whether the data of the slot's request is shared. */
  has(slot: number): boolean {
    return this.#addresses[slot] !== 0;
  }

  /** The address of the slot's shared data. */
  address(slot: number): number {
    if (this.#addresses[slot] === 0) fail("the slot's data is shared");
    return this.#addresses[slot];
  }

  /** The slot's shared data as bytes. */
  view(slot: number, bytes: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(bufferAt(this.#addresses[slot], bytes));
  }

  /** Locates the data of the slot's request. Returns false if it is in none of our buffers. */
  take(slot: number): boolean {
    const slots = this.#slots;
    const index = slots.addrHigh(slot) & UBLK_SHMEM_ZC_IDX_MASK;
    const offset = slots.addrLow(slot);
    for (const buffer of this.#buffers) {
      if (buffer.index !== index) continue;
      if (offset + slots.bytes(slot) > buffer.bytes) return false;
      this.#addresses[slot] = buffer.address + offset;
      return true;
    }
    return false;
  }

  /** Forgets the location, because the slot's request is answered. */
  release(slot: number): void {
    this.#addresses[slot] = 0;
  }
}

/** The data path for requests whose data is shared. It passes the others to another path. */
export class SharedMemoryPath implements DataPath {
  readonly commands: SlotPlaces;
  readonly #slots: Slots;
  readonly #handler: Handler;
  readonly #shared: SharedMemory;
  readonly #other: DataPath;
  readonly #log: LogWriter;

  /** Takes ownership of the other path. */
  constructor(
    slots: Slots,
    handler: Handler,
    shared: SharedMemory,
    other: DataPath,
    log: LogWriter,
  ) {
    this.#slots = slots;
    this.#handler = handler;
    this.#shared = shared;
    this.#other = other;
    this.#log = log;
    this.commands = other.commands;
  }

  request(slot: number): void {
    const slots = this.#slots;
    if ((slots.opFlags(slot) & UBLK_IO_F_SHMEM_ZC) === 0) return this.#other.request(slot);
    // With NEED_GET_DATA the data was located when the WRITE was announced.
    if (this.#shared.has(slot)) return this.#handler.handle(slot, false);
    if (slots.timed) slots.begin(slot);
    if (this.#shared.take(slot)) return this.#handler.handle(slot, false);
    this.#log.text(LOG_ERROR, `a request's data is in no shared buffer of ours; answering EIO`);
    slots.answer(slot, -EIO);
  }

  needData(slot: number): void {
    // The driver asks even if the data is shared. It then copies nothing, but overwrites the
    // location in the descriptor with the address of our command (`ublk_get_data`). So read it now.
    if ((this.#slots.opFlags(slot) & UBLK_IO_F_SHMEM_ZC) !== 0) this.#shared.take(slot);
    this.#other.needData!(slot);
  }

  operationDone(slot: number, result: number, step: number): void {
    this.#other.operationDone!(slot, result, step);
  }

  finish(slot: number, result: number): void {
    if (!this.#shared.has(slot)) return this.#other.finish(slot, result);
    this.#shared.release(slot);
    this.#slots.stats(slot).shared();
    this.#slots.answer(slot, result);
  }

  [Symbol.dispose](): void {
    this.#other[Symbol.dispose]();
  }
}
