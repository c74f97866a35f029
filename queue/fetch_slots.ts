/**
 * Slots with one command per request. FETCH hands a slot to the kernel, and its completion brings a
 * request. COMMIT_AND_FETCH sends the result and asks for the next request in one command.
 *
 * The kernel binds a tag to the thread that fetched it, so these slots never leave their thread.
 *
 * @module
 */

import { assert, fail } from "../uapi/error.ts";
import { IORING_OP_URING_CMD, IOSQE_FIXED_FILE } from "../uapi/io_uring_sqe.ts";
import {
  UBLK_U_IO_COMMIT_AND_FETCH_REQ,
  UBLK_U_IO_FETCH_REQ,
  UBLK_U_IO_NEED_GET_DATA,
} from "../uapi/ublk_io.ts";
import { type Ring, SQE_INDEX_BITS } from "../uring/ring.ts";
import { clear } from "../uring/sqe.ts";
import type { SlotPlaces } from "./data_path.ts";
import type { SlotLane } from "./slot_lane.ts";
import { KIND_ASK, KIND_IO, Slots, type SlotsOptions } from "./slots.ts";

const TWO_32 = 0x1_0000_0000;
// V8 inlines constants of this module. It loads and checks an imported one on each use.
const INDEX_BITS = SQE_INDEX_BITS;
const COMMIT = UBLK_U_IO_COMMIT_AND_FETCH_REQ | 0;
const GET_DATA = UBLK_U_IO_NEED_GET_DATA | 0;

/** Slots with one command for each request. */
export class FetchSlots extends Slots {
  readonly #ring: Ring;
  readonly #charFd: number;
  /** The opcode and flags of every command. */
  readonly #opcode: number;
  /** The number of the first of the slots' own SQEs, or -1. */
  #first = -1;
  #addresses: Float64Array<ArrayBuffer>;
  #hasAddresses = true;
  #autoBuffers: Uint32Array<ArrayBuffer>;

  /** Prepares the slots; {@linkcode fetchAll} hands them to the kernel. */
  constructor(options: SlotsOptions) {
    super(options);
    this.#ring = options.ring;
    this.#charFd = options.charFd;
    this.#opcode = IORING_OP_URING_CMD | (options.fixedFile ? IOSQE_FIXED_FILE << 8 : 0);
    this.#addresses = new Float64Array(this.count);
    this.#autoBuffers = new Uint32Array(this.count);
    this.canFollow = true;
  }

  fetchAll(places: SlotPlaces, before?: (queue: number, tag: number) => void): void {
    assert(this.live === 0, "slots are handed to the kernel once");
    assert(places.addresses.length === this.count, "each slot has a place");
    assert((places.autoBuffers ?? places.addresses).length === this.count, "or a buffer");
    this.#addresses = places.addresses;
    if (places.autoBuffers !== undefined) this.#autoBuffers = places.autoBuffers;
    this.#hasAddresses = places.areSectors === true ||
      places.addresses.some((address) => address !== 0);
    this.#first = this.#ring.own(this.count);
    if (this.#first >= 0) {
      for (let slot = 0; slot < this.count; slot++) {
        this.#fill(this.#ring.wordOf(this.#first + slot), slot);
      }
    }
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
    this.#command(GET_DATA, slot, 0);
  }

  protected commit(slot: number, result: number): void {
    this.#command(COMMIT, slot, result);
  }

  override lane(): SlotLane | undefined {
    return this.laneWith(this.#first);
  }

  /**
   * Sends a command that the driver always refuses. EBUSY means that it holds the slot's command,
   * which it does since COMMIT_AND_FETCH. EINVAL means that the server still has the request:
   * without UBLK_F_NEED_GET_DATA the driver takes no such command (`ublk_ch_uring_cmd_local`).
   */
  protected override askFor(slot: number): void {
    const at = this.#ring.place();
    this.#fill(at, slot);
    this.#ring.sqes[at + 2] = UBLK_U_IO_NEED_GET_DATA;
    this.#ring.sqes[at + 9] = KIND_ASK;
  }

  batchDone(): never {
    fail("no command here is for many slots");
  }

  flush(): void {}

  #command(cmdOp: number, slot: number, result: number): void {
    const ring = this.#ring;
    const sqes = ring.sqes;
    let at: number;
    if (this.#first >= 0) at = ring.again(this.#first + slot) & INDEX_BITS;
    else this.#fill(at = ring.place() & INDEX_BITS, slot);
    sqes[at + 2] = cmdOp | 0;
    sqes[at + 13] = result | 0;
    if (!this.#hasAddresses) return;
    const address = this.#addresses[slot];
    sqes[at + 14] = address >>> 0;
    sqes[at + 15] = address / TWO_32;
  }

  /** Writes the words that are the same in every command of a slot. */
  #fill(at: number, slot: number): void {
    const sqes = this.#ring.sqes;
    clear(sqes, at, at + 16);
    sqes[at] = this.#opcode;
    sqes[at + 1] = this.#charFd;
    sqes[at + 4] = this.#autoBuffers[slot];
    sqes[at + 8] = slot;
    sqes[at + 9] = KIND_IO;
    // struct ublksrv_io_cmd
    sqes[at + 12] = this.identity[slot];
    // Next to it are the result and, if the path uses one, the address.
  }
}
