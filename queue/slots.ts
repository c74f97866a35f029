/**
 * The slots that one thread owns, and the three commands that move them.
 *
 * A slot is one (queue, tag). FETCH hands it to the kernel; its completion brings a request, which
 * the kernel describes in a `ublksrv_io_desc` that is mapped into this process. COMMIT_AND_FETCH
 * gives the result and asks for the next request in one command. The kernel binds a tag to the
 * thread that fetched it, so a `Slots` never leaves its thread.
 *
 * @module
 */

import { IORING_OP_URING_CMD } from "../uapi/io_uring_sqe.ts";
import { IO_DESC_BYTES } from "../uapi/offsets.ts";
import {
  UBLK_U_IO_COMMIT_AND_FETCH_REQ,
  UBLK_U_IO_FETCH_REQ,
  UBLK_U_IO_NEED_GET_DATA,
} from "../uapi/ublk_io.ts";
import { monotonicUs } from "../uring/libc.ts";
import type { Ring } from "../uring/ring.ts";
import { EVENT_ANSWER, EVENT_REQUEST, LOG_TRACE } from "./log_events.ts";
import type { LogWriter } from "./log_ring.ts";
import type { QueueStats } from "./stats.ts";

// Kinds start at 1, so that a ring that was taken away (see `device/teardown.ts`) and reads as
// zeroes shows none of them.

/**
 * `kind` of the completions of all commands for a slot. They need not be told apart: whichever of
 * them the driver holds, it completes it with what the slot gets next.
 */
export const KIND_IO = 1;
/** `kind` of the completion that an order from outside causes. */
export const KIND_WAKE = 2;
/** `kind` of the completions of what a backend queued itself. */
export const KIND_BACKEND = 3;

const TWO_32 = 0x1_0000_0000;
const DESC_WORDS = IO_DESC_BYTES / 4;

/** One queue of which a thread owns every tag. */
export interface OwnedQueue {
  /** The kernel's number of the queue. */
  readonly queue: number;
  /** Its descriptors, mapped from `/dev/ublkcN`. */
  readonly descriptors: Uint32Array<ArrayBuffer>;
  /** Its counters. */
  readonly stats: QueueStats;
}

/** The (queue, tag) slots of one thread, numbered from 0: queue by queue, tag by tag. */
export class Slots {
  /** Number of slots. */
  readonly count: number;
  /** Slots that the kernel may still answer. At zero the device is gone for this thread. */
  live = 0;
  /** Whether the requests of the batch at hand are timed and traced. */
  timed = false;

  readonly #ring: Ring;
  readonly #charFd: number;
  readonly #log: LogWriter;
  readonly #descriptors: Uint32Array<ArrayBuffer>[] = [];
  readonly #stats: QueueStats[] = [];
  readonly #queueIndex: Uint16Array<ArrayBuffer>;
  readonly #descriptorWord: Uint32Array<ArrayBuffer>;
  /** `q_id` and `tag` as they stand in the command. */
  readonly #identity: Uint32Array<ArrayBuffer>;
  readonly #startedUs: Float64Array<ArrayBuffer>;
  #addresses: Float64Array<ArrayBuffer>;

  /** Prepares the slots; {@linkcode fetchAll} hands them to the kernel. */
  constructor(
    ring: Ring,
    charFd: number,
    queues: readonly OwnedQueue[],
    depth: number,
    log: LogWriter,
  ) {
    this.#ring = ring;
    this.#charFd = charFd;
    this.#log = log;
    this.count = queues.length * depth;
    this.#queueIndex = new Uint16Array(this.count);
    this.#descriptorWord = new Uint32Array(this.count);
    this.#identity = new Uint32Array(this.count);
    this.#startedUs = new Float64Array(this.count);
    this.#addresses = new Float64Array(this.count);
    queues.forEach((owned, index) => {
      this.#descriptors.push(owned.descriptors);
      this.#stats.push(owned.stats);
      for (let tag = 0; tag < depth; tag++) {
        const slot = index * depth + tag;
        this.#queueIndex[slot] = index;
        this.#descriptorWord[slot] = tag * DESC_WORDS;
        this.#identity[slot] = owned.queue | (tag << 16);
      }
    });
  }

  /**
   * Queues the FETCH of every slot. From then on each command names the address that stands in
   * `addresses[slot]` at that moment: a place and not an argument, because addresses are beyond
   * 32 bits, and V8 allocates for such a number whenever it is passed to a function.
   */
  fetchAll(addresses: Float64Array<ArrayBuffer>): void {
    this.#addresses = addresses;
    for (let slot = 0; slot < this.count; slot++) {
      this.#command(UBLK_U_IO_FETCH_REQ, slot, 0);
      this.live++;
    }
  }

  /** The request's `op_flags`: the operation in the low byte, `UBLK_IO_F_*` above it. */
  opFlags(slot: number): number {
    return this.#descriptors[this.#queueIndex[slot]][this.#descriptorWord[slot]];
  }

  /** The request's length in bytes. */
  bytes(slot: number): number {
    const words = this.#descriptors[this.#queueIndex[slot]];
    return words[this.#descriptorWord[slot] + 1] * 512;
  }

  /** The request's offset in bytes. The kernel always counts in sectors of 512 bytes. */
  offset(slot: number): number {
    const words = this.#descriptors[this.#queueIndex[slot]];
    const at = this.#descriptorWord[slot];
    return (words[at + 2] + words[at + 3] * TWO_32) * 512;
  }

  /** The kernel's number of the slot's queue. */
  queue(slot: number): number {
    return this.#identity[slot] & 0xffff;
  }

  /** The slot's tag. */
  tag(slot: number): number {
    return this.#identity[slot] >>> 16;
  }

  /** The counters of the slot's queue. */
  stats(slot: number): QueueStats {
    return this.#stats[this.#queueIndex[slot]];
  }

  /** Counts a round that found `requests` completions. */
  countBatch(requests: number): void {
    this.#stats[0].batch(requests);
  }

  /** Notes that a request has arrived: its answer will record the latency, and be traced. */
  begin(slot: number): void {
    this.#startedUs[slot] = monotonicUs();
    if (this.#log.level <= LOG_TRACE) {
      this.#log.event(
        EVENT_REQUEST,
        this.#identity[slot],
        this.opFlags(slot),
        this.offset(slot),
        this.bytes(slot),
      );
    }
  }

  /** When {@linkcode begin} was called, in microseconds of the monotonic clock. */
  startedUs(slot: number): number {
    return this.#startedUs[slot];
  }

  /** Asks the kernel to copy a WRITE's data to the slot's address. */
  getData(slot: number): void {
    this.#command(UBLK_U_IO_NEED_GET_DATA, slot, 0);
  }

  /**
   * Answers the request and asks for the next one. A READ's data is copied from the slot's address
   * now, and the tag's next WRITE lands there.
   *
   * @param result Bytes done, or a negative errno.
   */
  answer(slot: number, result: number): void {
    const op = this.opFlags(slot) & 0xff;
    const stats = this.#stats[this.#queueIndex[slot]];
    if (result >= 0) stats.count(op, this.bytes(slot));
    else stats.error();
    const startedUs = this.#startedUs[slot];
    if (startedUs > 0) {
      this.#startedUs[slot] = 0;
      stats.latency(op, monotonicUs() - startedUs);
      if (this.#log.level <= LOG_TRACE) {
        this.#log.event(EVENT_ANSWER, this.#identity[slot], result, 0, 0);
      }
    }
    this.#command(UBLK_U_IO_COMMIT_AND_FETCH_REQ, slot, result);
  }

  #command(cmdOp: number, slot: number, result: number): void {
    let at = this.#ring.next();
    // Only where the slots are more than a ring can have SQEs.
    if (at < 0) at = this.#makeRoom();
    const sqes = this.#ring.sqes;
    sqes[at] = IORING_OP_URING_CMD;
    sqes[at + 1] = this.#charFd;
    sqes[at + 2] = cmdOp;
    sqes[at + 3] = 0;
    sqes[at + 4] = 0;
    sqes[at + 5] = 0;
    sqes[at + 6] = 0;
    sqes[at + 7] = 0;
    sqes[at + 8] = slot;
    sqes[at + 9] = KIND_IO;
    sqes[at + 10] = 0;
    sqes[at + 11] = 0;
    const address = this.#addresses[slot];
    // struct ublksrv_io_cmd
    sqes[at + 12] = this.#identity[slot];
    sqes[at + 13] = result;
    sqes[at + 14] = address >>> 0;
    sqes[at + 15] = address / TWO_32;
  }

  #makeRoom(): number {
    this.#ring.enter(0);
    const at = this.#ring.next();
    if (at < 0) throw new Error("assertion failed: the kernel takes SQEs");
    return at;
  }
}
