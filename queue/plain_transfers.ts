/**
 * Plain transfers: a request to a file that is one READ or WRITE of its whole length at the same
 * offset. Nearly every request to a file is one.
 *
 * The SQE is written word by word from the request's descriptor, in 32-bit arithmetic. An offset as
 * a JavaScript number could exceed 32 bits, and V8 would allocate it.
 *
 * @module
 */

import { assert } from "../uapi/error.ts";
import {
  IORING_OP_READ,
  IORING_OP_READ_FIXED,
  IORING_OP_WRITE,
  IORING_OP_WRITE_FIXED,
  IOSQE_CQE_SKIP_SUCCESS,
  IOSQE_FIXED_FILE,
  IOSQE_IO_LINK,
} from "../uapi/io_uring_sqe.ts";
import { IO_DESC_BYTES } from "../uapi/offsets.ts";
import { UBLK_MAX_QUEUE_DEPTH } from "../uapi/ublk_cmd.ts";
import {
  UBLK_IO_F_FUA,
  UBLK_IO_F_INTEGRITY,
  UBLK_IO_F_NEED_REG_BUF,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
} from "../uapi/ublk_io.ts";
import { type Ring, SQE_INDEX_BITS } from "../uring/ring.ts";
import { clear, put64 } from "../uring/sqe.ts";
import type { Places } from "./data_path.ts";
import type { SlotLane } from "./slot_lane.ts";
import { KIND_BACKEND, type Slots } from "./slots.ts";

// V8 inlines constants of this module. It loads and checks an imported one on each use.
const INDEX_BITS = SQE_INDEX_BITS;
const SECTOR_SHIFT = 9;
/** Mask of the word index of a descriptor. It covers 4096 tags with bits to spare. */
export const DESCRIPTOR_BITS = 0xfffff;
assert(
  UBLK_MAX_QUEUE_DEPTH * IO_DESC_BYTES / 4 <= DESCRIPTOR_BITS,
  "the mask leaves the index of every descriptor as it is",
);
const LINKED = (IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS) << 8;
/**
 * The `op_flags` bits that rule out a plain transfer: any op but READ (0) and WRITE (1), FUA,
 * metadata, and pages that must be registered first.
 */
export const OTHER = 0xfe | UBLK_IO_F_FUA | UBLK_IO_F_INTEGRITY | UBLK_IO_F_NEED_REG_BUF;

/** The opcodes, indexed by READ (0) or WRITE (1), plus {@linkcode FIXED} for registered buffers. */
const TRANSFERS = [IORING_OP_READ, IORING_OP_WRITE, IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED];
export const FIXED = 2;
assert(UBLK_IO_OP_READ === 0 && UBLK_IO_OP_WRITE === 1, "one bit tells the operation");
assert(TRANSFERS.length === 2 * FIXED, "and one whether its buffer is registered");
/** More sectors than any request has. */
const MOST_SECTORS = 0x3fff_ffff;

/** State: no plain transfer is under way. */
export const NOT_PLAIN = 0;
/** State: a transfer is under way, and its completion will bring the result. */
export const PLAIN = 1;
/** State: a transfer with a linked answer is or was under way; only a failure completes. */
export const FOLLOWED = 2;
/**
 * State: a transfer of the express lane is under way. It is counted already; the lane answers it.
 */
export const EXPECTED = 3;

/** The parts of a {@linkcode PlainTransfers}. */
export interface PlainTransfersParts {
  /** The thread's ring. */
  readonly ring: Ring;
  /** The thread's slots. */
  readonly slots: Slots;
  /** The places of the data. A slot's place never changes. */
  readonly places: Places;
  /** The file's descriptor. */
  readonly plainFd: number;
  /** The file's index in the ring's file table, if it is registered. */
  readonly plainFile?: number;
  /**
   * Bytes at the start of each slot's place that are registered, as the ring's buffer with the
   * slot's number.
   *
   * @default 0
   */
  readonly registeredBytes?: number;
}

/** The part of the transfers that the express lane uses. */
export interface PlainLane {
  /** The slots' part of the lane. */
  readonly lane: SlotLane;
  /** The number of the first of the slots' own SQEs for operations. */
  readonly first: number;
  /** Opcodes and flags: READ, WRITE, and the same with registered buffers. */
  readonly opcodes: Int32Array<ArrayBuffer>;
  /** Requests of up to this many sectors lie in registered buffers. */
  readonly fixedSectors: number;
}

/** Queues plain transfers. */
export class PlainTransfers {
  readonly #ring: Ring;
  readonly #slots: Slots;
  readonly #places: Places;
  readonly #fd: number;
  /** Opcodes and flags, in the order of {@linkcode TRANSFERS}. */
  readonly #opcodes: Int32Array<ArrayBuffer>;
  /** Requests of up to this many sectors lie in registered buffers. */
  readonly #fixedSectors: number;
  /** The number of the first of the slots' own SQEs, or -1. */
  readonly #first: number;

  /** Takes SQEs of its own from the ring, if it has some, and fills them. */
  constructor(parts: PlainTransfersParts) {
    const { ring, slots, places, plainFd, plainFile, registeredBytes = 0 } = parts;
    this.#ring = ring;
    this.#slots = slots;
    this.#places = places;
    this.#fd = plainFile ?? plainFd;
    assert(registeredBytes >= 0 && registeredBytes % 512 === 0, "whole sectors are registered");
    assert(this.#fd >= 0, "the file is open");
    const flags = plainFile === undefined ? 0 : IOSQE_FIXED_FILE << 8;
    const { count } = slots;
    const zeroCopy = count > 0 && places.bufferIndex(0) >= 0;
    this.#opcodes = Int32Array.from(TRANSFERS, (opcode) => opcode | flags);
    this.#fixedSectors = zeroCopy ? MOST_SECTORS : registeredBytes >> SECTOR_SHIFT;
    this.#first = ring.own(count);
    if (this.#first < 0) return;
    for (let slot = 0; slot < count; slot++) this.#fill(ring.wordOf(this.#first + slot), slot);
  }

  /**
   * Queues the transfer for the slot's request, with the answer linked behind it where allowed.
   *
   * @param linked The operation continues the previous SQE's chain, which already has room.
   * @returns {@linkcode NOT_PLAIN} if the request is not plain, and nothing was done; otherwise
   *   {@linkcode PLAIN} or {@linkcode FOLLOWED}.
   */
  start(slot: number, linked: boolean): number {
    const slots = this.#slots;
    const words = slots.descriptors(slot);
    // struct ublksrv_io_desc
    const from = slots.descriptorWord(slot) & DESCRIPTOR_BITS;
    const opFlags = words[from];
    if ((opFlags & OTHER) !== 0) return NOT_PLAIN;
    const follow = slots.mayFollow && !linked;
    const ring = this.#ring;
    let at: number;
    if (this.#first >= 0) at = ring.again(this.#first + slot) & INDEX_BITS;
    else {
      // A link cannot span two system calls.
      if (!linked) ring.reserve(2);
      this.#fill(at = ring.place() & INDEX_BITS, slot);
    }
    const op = opFlags & 1;
    const sectors = words[from + 1];
    const bytes = sectors << SECTOR_SHIFT;
    const sectorLow = words[from + 2];
    const sqes = ring.sqes;
    const fixed = sectors <= this.#fixedSectors ? FIXED : 0;
    sqes[at] = this.#opcodes[op | fixed] | (follow ? LINKED : 0);
    sqes[at + 2] = sectorLow << SECTOR_SHIFT;
    sqes[at + 3] = words[from + 3] << SECTOR_SHIFT | sectorLow >>> 32 - SECTOR_SHIFT;
    sqes[at + 6] = bytes;
    if (!follow) return PLAIN;
    slots.follow(slot, op, bytes);
    return FOLLOWED;
  }

  /** The transfers' part of the express lane; undefined if the lane is not possible. */
  lane(): PlainLane | undefined {
    const lane = this.#slots.lane();
    if (lane === undefined || this.#first < 0) return undefined;
    const operations = { first: this.#first, opcodes: this.#opcodes };
    return { lane, ...operations, fixedSectors: this.#fixedSectors };
  }

  /** Writes the words that are the same in every operation of a slot. */
  #fill(at: number, slot: number): void {
    const sqes = this.#ring.sqes;
    const address = this.#places.address(slot);
    clear(sqes, at, at + 16);
    sqes[at + 1] = this.#fd;
    put64(sqes, at + 4, address);
    sqes[at + 8] = slot;
    sqes[at + 9] = KIND_BACKEND;
    // Ignored by operations without a registered buffer.
    sqes[at + 10] = this.#fixedSectors > 0 ? slot : 0;
  }
}
