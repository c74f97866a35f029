/**
 * The operation that nearly every request to a file is: a READ or WRITE of all of it, at the same
 * offset.
 *
 * It is written word by word, from the words of the request's descriptor, and all arithmetic is on
 * 32 bits: an offset is never a number of JavaScript, which would have to be allocated.
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

// V8 takes a constant of this module for what it is. An import it reads, and checks, each time.
const INDEX_BITS = SQE_INDEX_BITS;
const SECTOR_SHIFT = 9;
/** Which bits the word index of a descriptor may have: those of 4096 tags, and some. */
export const DESCRIPTOR_BITS = 0xfffff;
assert(
  UBLK_MAX_QUEUE_DEPTH * IO_DESC_BYTES / 4 <= DESCRIPTOR_BITS,
  "the mask leaves the index of every descriptor as it is",
);
const LINKED = (IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS) << 8;
/**
 * What makes a request more than one operation: any op but READ (0) and WRITE (1), FUA, metadata, and
 * pages that are to be registered first.
 */
export const OTHER = 0xfe | UBLK_IO_F_FUA | UBLK_IO_F_INTEGRITY | UBLK_IO_F_NEED_REG_BUF;

/** The operations: READ (0), WRITE (1), and what is added for those with registered buffers. */
const TRANSFERS = [IORING_OP_READ, IORING_OP_WRITE, IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED];
export const FIXED = 2;
assert(UBLK_IO_OP_READ === 0 && UBLK_IO_OP_WRITE === 1, "one bit tells the operation");
assert(TRANSFERS.length === 2 * FIXED, "and one whether its buffer is registered");
/** More than any request has. */
const MOST_SECTORS = 0x3fff_ffff;

/** No such operation is under way. */
export const NOT_PLAIN = 0;
/** It is, and its completion will tell how it went. */
export const PLAIN = 1;
/** It is, or was, with the answer behind it; only a completion that tells of a failure will come. */
export const FOLLOWED = 2;
/** It is, has been counted as done, and the express lane will answer once it is. */
export const EXPECTED = 3;

/** What a {@linkcode PlainTransfers} works with. */
export interface PlainTransfersParts {
  /** The thread's ring. */
  readonly ring: Ring;
  /** The thread's slots. */
  readonly slots: Slots;
  /** Where data is: for each slot always the same. */
  readonly places: Places;
  /** The file. */
  readonly plainFd: number;
  /** Where it is among the ring's files, if it is. */
  readonly plainFile?: number;
  /**
   * How many bytes from its start of each slot's place are the ring's registered buffer of the slot's
   * number. Default: none.
   */
  readonly registeredBytes?: number;
}

/** What the express lane writes operations with. */
export interface PlainLane {
  /** What it has of the slots. */
  readonly lane: SlotLane;
  /** The number of the first of the slots' own SQEs for operations. */
  readonly first: number;
  /** Opcodes and flags: READ, WRITE, and the same with registered buffers. */
  readonly opcodes: Int32Array<ArrayBuffer>;
  /** Requests up to this are in registered buffers. */
  readonly fixedSectors: number;
}

/** Queues the operations. */
export class PlainTransfers {
  readonly #ring: Ring;
  readonly #slots: Slots;
  readonly #places: Places;
  readonly #fd: number;
  /** Opcodes and flags, in the order of {@linkcode TRANSFERS}. */
  readonly #opcodes: Int32Array<ArrayBuffer>;
  /** Requests up to this are in the registered buffers. */
  readonly #fixedSectors: number;
  /** The first of the slots' own SQEs, or -1. */
  readonly #first: number;

  /** Fills the operations. */
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
   * Queues the operation of the slot's request, and the answer behind it where that may be.
   *
   * @param linked It must follow the SQE before, by which its chain has been given room.
   * @returns {@linkcode NOT_PLAIN} where the request is not a plain one and nothing was done, else
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
      // A link does not reach from one system call into the next.
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

  /** What the express lane needs of the operations, if there can be one. */
  lane(): PlainLane | undefined {
    const lane = this.#slots.lane();
    if (lane === undefined || this.#first < 0) return undefined;
    const operations = { first: this.#first, opcodes: this.#opcodes };
    return { lane, ...operations, fixedSectors: this.#fixedSectors };
  }

  /** Writes what is the same in every operation of a slot. */
  #fill(at: number, slot: number): void {
    const sqes = this.#ring.sqes;
    const address = this.#places.address(slot);
    clear(sqes, at, at + 16);
    sqes[at + 1] = this.#fd;
    put64(sqes, at + 4, address);
    sqes[at + 8] = slot;
    sqes[at + 9] = KIND_BACKEND;
    // Those that are not for a registered buffer do not look at it.
    sqes[at + 10] = this.#fixedSectors > 0 ? slot : 0;
  }
}
