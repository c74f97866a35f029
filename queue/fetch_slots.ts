/**
 * Slots with a command per request: FETCH hands one to the kernel, and its completion brings a
 * request. COMMIT_AND_FETCH gives the result and asks for the next request in one command.
 *
 * The kernel binds a tag to the thread that fetched it, so these never leave their thread.
 *
 * @module
 */

import { IORING_OP_URING_CMD, IOSQE_FIXED_FILE } from "../uapi/io_uring_sqe.ts";
import {
  UBLK_U_IO_COMMIT_AND_FETCH_REQ,
  UBLK_U_IO_FETCH_REQ,
  UBLK_U_IO_NEED_GET_DATA,
} from "../uapi/ublk_io.ts";
import type { Ring } from "../uring/ring.ts";
import { KIND_IO, type SlotPlaces, Slots, type SlotsOptions } from "./slots.ts";

const TWO_32 = 0x1_0000_0000;

/** Slots with one command for each request. */
export class FetchSlots extends Slots {
  readonly #ring: Ring;
  readonly #charFd: number;
  /** The opcode and the flags of every command. */
  readonly #opcode: number;
  #addresses: Float64Array<ArrayBuffer>;
  #autoBuffers: Uint32Array<ArrayBuffer>;

  /** Prepares the slots; {@linkcode fetchAll} hands them to the kernel. */
  constructor(options: SlotsOptions) {
    super(options);
    this.#ring = options.ring;
    this.#charFd = options.charFd;
    this.#opcode = IORING_OP_URING_CMD | (options.fixedFile ? IOSQE_FIXED_FILE << 8 : 0);
    this.#addresses = new Float64Array(this.count);
    this.#autoBuffers = new Uint32Array(this.count);
  }

  fetchAll(places: SlotPlaces, before?: (queue: number, tag: number) => void): void {
    this.#addresses = places.addresses;
    if (places.autoBuffers !== undefined) this.#autoBuffers = places.autoBuffers;
    for (let slot = 0; slot < this.count; slot++) {
      if (before !== undefined) {
        this.#ring.enter(0);
        before(this.queue(slot), this.tag(slot));
      }
      this.#command(UBLK_U_IO_FETCH_REQ, slot, 0);
      this.live++;
    }
  }

  getData(slot: number): void {
    this.#command(UBLK_U_IO_NEED_GET_DATA, slot, 0);
  }

  protected commit(slot: number, result: number): void {
    this.#command(UBLK_U_IO_COMMIT_AND_FETCH_REQ, slot, result);
  }

  batchDone(): never {
    throw new Error("assertion failed: no command here is for many slots");
  }

  flush(): void {}

  #command(cmdOp: number, slot: number, result: number): void {
    const at = this.#ring.place();
    const sqes = this.#ring.sqes;
    sqes[at] = this.#opcode;
    sqes[at + 1] = this.#charFd;
    sqes[at + 2] = cmdOp;
    sqes[at + 3] = 0;
    sqes[at + 4] = this.#autoBuffers[slot];
    sqes[at + 5] = 0;
    sqes[at + 6] = 0;
    sqes[at + 7] = 0;
    sqes[at + 8] = slot;
    sqes[at + 9] = KIND_IO;
    sqes[at + 10] = 0;
    sqes[at + 11] = 0;
    const address = this.#addresses[slot];
    // struct ublksrv_io_cmd
    sqes[at + 12] = this.identity[slot];
    sqes[at + 13] = result;
    sqes[at + 14] = address >>> 0;
    sqes[at + 15] = address / TWO_32;
  }
}
