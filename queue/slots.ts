/**
 * The slots that one thread owns, with their requests and counters.
 *
 * A slot is one (queue, tag). The kernel describes its request in a `ublksrv_io_desc`, which is
 * mapped into this process. Two subclasses exchange requests with the kernel: one command per
 * request (`fetch_slots.ts`), or one command for many (`batch_slots.ts`).
 *
 * @module
 */

import { assert, fail } from "../uapi/error.ts";
import { IO_DESC_BYTES } from "../uapi/offsets.ts";
import { UBLK_MAX_NR_QUEUES, UBLK_MAX_QUEUE_DEPTH } from "../uapi/ublk_cmd.ts";
import { monotonicUs } from "../uring/libc.ts";
import type { Ring } from "../uring/ring.ts";
import { EVENT_ANSWER, EVENT_REQUEST, LOG_TRACE } from "./log_events.ts";
import type { LogWriter } from "./log_ring.ts";
import type { DataPath, SlotPlaces } from "./data_path.ts";
import type { SlotLane } from "./slot_lane.ts";
import type { QueueStats } from "./stats.ts";

// Kinds start at 1: a ring that was taken away (see `device/teardown.ts`) reads as zeroes, which
// must not look like a kind. A kind takes the low byte of a word; its owner may use the rest.

/**
 * `kind` of the completions of all commands for one slot. They need not be told apart: the driver
 * completes whichever command it holds with the slot's next request.
 */
export const KIND_IO = 1;
/** `kind` of the completion that wakes the thread for an order. */
export const KIND_WAKE = 2;
/** `kind` of the completions of a backend's own operations. The handler chooses their user data. */
export const KIND_BACKEND = 3;
/** `kind` of the completions of a data path's own operations. */
export const KIND_PATH = 4;
/** `kind` of the completions of commands for many slots. */
export const KIND_BATCH = 5;
/** `kind` of the completion of the grace timer, see `WakePage.giveTime`. */
export const KIND_LEAVE = 6;
/** `kind` of the completions of cancellations, which are ignored. */
export const KIND_CANCEL = 7;

/** `kind` of the completions of probes, see {@linkcode Slots.ask}. */
export const KIND_ASK = 8;
/** `kind` of the completion of the tick, see `WakePage.tick`. */
export const KIND_TICK = 9;
/** `kind` of the completion of the eventfd by which another thread wakes an engine. */
export const KIND_WOKEN = 10;

const KINDS = [
  ...[KIND_IO, KIND_WAKE, KIND_BACKEND, KIND_PATH, KIND_BATCH, KIND_LEAVE, KIND_CANCEL, KIND_ASK],
  ...[KIND_TICK, KIND_WOKEN],
];
assert(KINDS.every((kind) => kind > 0 && kind <= 0xff), "a kind fits the low byte, and is not 0");
assert(new Set(KINDS).size === KINDS.length, "completions of two kinds are told apart");

const TWO_32 = 0x1_0000_0000;
const DESC_WORDS = IO_DESC_BYTES / 4;

/** A queue, and the thread's share of its tags. */
export interface OwnedQueue {
  /** The kernel's number of the queue. */
  readonly queue: number;
  /** Its descriptors, mapped from `/dev/ublkcN`. */
  readonly descriptors: Uint32Array<ArrayBuffer>;
  /** This thread's counters for the queue. */
  readonly stats: QueueStats;
  /**
   * The thread's first tag.
   *
   * @default 0
   */
  readonly first?: number;
  /**
   * The distance between two of the thread's tags.
   *
   * @default 1
   */
  readonly step?: number;
  /**
   * Whether this thread prepares the queue's tags. Counts only with batch I/O.
   *
   * @default true
   */
  readonly prepare?: boolean;
}

/** Options of {@linkcode Slots}. */
export interface SlotsOptions {
  /** The thread's ring. */
  readonly ring: Ring;
  /** The descriptor of `/dev/ublkcN`, or its index in the ring's file table. */
  readonly charFd: number;
  /** Whether `charFd` is an index. */
  readonly fixedFile?: boolean;
  /** The queues. */
  readonly queues: readonly OwnedQueue[];
  /** Tags per queue. */
  readonly depth: number;
  /** The log channel. */
  readonly log: LogWriter;
}

/** The kernel's `MAX_ERRNO`, negative. */
const LEAST_RESULT = -4095;

/** State of a slot that has no request. */
const NOT_HELD = 0;
/** State of a slot that has a request. */
const HELD = 1;
/** State of a slot whose answer was left to the kernel: the request may or may not be answered. */
const FOLLOWED = 2;

/** The (queue, tag) slots of one thread, numbered from 0: queue by queue, tag by tag. */
export abstract class Slots {
  /** Number of slots. */
  readonly count: number;
  /** Commands that the kernel may still complete. At zero this thread has lost the device. */
  live = 0;
  /** Requests that have arrived and are not yet answered. */
  held = 0;
  /** Whether the requests of the current batch are timed and traced. */
  timed = false;
  /** Whether {@linkcode follow} is possible at all. */
  canFollow = false;
  /** Whether {@linkcode follow} may be used in the current batch. */
  mayFollow = false;

  readonly #log: LogWriter;
  readonly #descriptors: Uint32Array<ArrayBuffer>[] = [];
  readonly #stats: QueueStats[] = [];
  readonly #queueIndex: Uint16Array<ArrayBuffer>;
  readonly #descriptorWord: Uint32Array<ArrayBuffer>;
  /** `q_id` and `tag`, packed as in the command. */
  protected readonly identity: Uint32Array<ArrayBuffer>;
  readonly #startedUs: Float64Array<ArrayBuffer>;
  /** Time of the first {@linkcode beginInBatch} of the batch; 0 before it. */
  readonly #batchUs = new Float64Array(1);
  /** Requests answered in the batch in which they began: how many, and each one's slot and operation. */
  #prompt = 0;
  readonly #promptSlots: Uint32Array<ArrayBuffer>;
  readonly #promptOps: Uint8Array<ArrayBuffer>;
  readonly #isHeld: Uint8Array<ArrayBuffer>;

  /** Prepares the slots; {@linkcode fetchAll} hands them to the kernel. */
  constructor({ queues, depth, log }: SlotsOptions) {
    assert(queues.length > 0, "a thread serves a queue");
    assert(depth > 0 && depth <= UBLK_MAX_QUEUE_DEPTH, "a queue has tags, and no more than may be");
    this.#log = log;
    const slots: [index: number, queue: number, tag: number][] = [];
    queues.forEach(({ queue, descriptors, stats, first = 0, step = 1 }, index) => {
      assert(descriptors.length >= depth * DESC_WORDS, "every tag has its descriptor");
      assert(queue >= 0 && queue < UBLK_MAX_NR_QUEUES, "a queue's number fits its half of a word");
      assert(first >= 0 && first < depth && step > 0, "the thread has one of the queue's tags");
      this.#descriptors.push(descriptors);
      this.#stats.push(stats);
      for (let tag = first; tag < depth; tag += step) slots.push([index, queue, tag]);
    });
    assert(slots.length > 0 && queues.length <= 0xffff, "slots are numbered");
    this.count = slots.length;
    this.#queueIndex = Uint16Array.from(slots, ([index]) => index);
    this.#descriptorWord = Uint32Array.from(slots, ([, , tag]) => tag * DESC_WORDS);
    this.identity = Uint32Array.from(slots, ([, queue, tag]) => queue | (tag << 16));
    this.#startedUs = new Float64Array(this.count);
    this.#promptSlots = new Uint32Array(this.count);
    this.#promptOps = new Uint8Array(this.count);
    this.#isHeld = new Uint8Array(this.count);
  }

  /**
   * Queues the commands that hand every slot to the kernel.
   *
   * @param before Called before each tag. The kernel already has all earlier tags then.
   */
  abstract fetchAll(places: SlotPlaces, before?: (queue: number, tag: number) => void): void;

  /** Asks the kernel to copy a WRITE's data to the slot's address. */
  abstract getData(slot: number): void;

  /** Answers the slot's request and asks for the next one. */
  protected abstract commit(slot: number, result: number): void;

  /**
   * Handles the completion of a command for many slots.
   *
   * @returns 0, or the positive errno with which tags were lost while the device was live.
   */
  abstract batchDone(index: number, step: number, result: number, flags: number): number;

  /** Queues commands for the answers since the last call, if a command holds many answers. */
  abstract flush(): void;

  /**
   * Asks the driver whether it has received the answers that {@linkcode follow} left to the kernel.
   * For each of those slots a completion of {@linkcode KIND_ASK} arrives, with -EBUSY if it has.
   */
  ask(): void {
    for (let slot = 0; slot < this.count; slot++) {
      if (this.#isHeld[slot] === FOLLOWED) this.askFor(slot);
    }
  }

  /** Queues the probe for one slot. */
  protected askFor(_slot: number): void {}

  /** The path for requests that arrive by a command for many. */
  path!: DataPath;

  /** The words of the descriptors of the slot's queue. */
  descriptors(slot: number): Uint32Array<ArrayBuffer> {
    return this.#descriptors[this.#queueIndex[slot]];
  }

  /** The index in {@linkcode descriptors} of the slot's `ublksrv_io_desc`, in words. */
  descriptorWord(slot: number): number {
    return this.#descriptorWord[slot];
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

  /** The number of zones to report, which is in the same word as the length. */
  zoneCount(slot: number): number {
    const words = this.#descriptors[this.#queueIndex[slot]];
    return words[this.#descriptorWord[slot] + 1];
  }

  /** The request's offset in bytes. The kernel always counts in sectors of 512 bytes. */
  offset(slot: number): number {
    const words = this.#descriptors[this.#queueIndex[slot]];
    const at = this.#descriptorWord[slot];
    return (words[at + 2] + words[at + 3] * TWO_32) * 512;
  }

  /** The low word of the request's `addr`: for shared memory, the offset in the buffer. */
  addrLow(slot: number): number {
    const words = this.#descriptors[this.#queueIndex[slot]];
    return words[this.#descriptorWord[slot] + 4];
  }

  /** The high word of the request's `addr`: for shared memory, the buffer's index. */
  addrHigh(slot: number): number {
    const words = this.#descriptors[this.#queueIndex[slot]];
    return words[this.#descriptorWord[slot] + 5];
  }

  /** The kernel's number of the slot's queue. */
  queue(slot: number): number {
    return this.identity[slot] & 0xffff;
  }

  /** The slot's tag. */
  tag(slot: number): number {
    return this.identity[slot] >>> 16;
  }

  /** The counters of the slot's queue. */
  stats(slot: number): QueueStats {
    return this.#stats[this.#queueIndex[slot]];
  }

  /** Counts a batch of `requests` completions. */
  countBatch(requests: number): void {
    this.#stats[0].batch(requests);
  }

  /** The slots' part of the express lane; undefined if the lane is not possible. */
  lane(): SlotLane | undefined {
    return undefined;
  }

  /** Builds {@linkcode lane}. `commits` is the first of the slots' own SQEs for commands. */
  protected laneWith(commits: number): SlotLane | undefined {
    if (commits < 0 || !this.canFollow || this.#descriptors.length !== 1) return undefined;
    return {
      ...{ words: this.#descriptors[0], descriptorWords: this.#descriptorWord, commits },
      stats: this.#stats[0],
      ...{ states: this.#isHeld, held: HELD, idle: NOT_HELD },
    };
  }

  /** Notes that the slot has a request. Happens twice if the data comes later (NEED_GET_DATA). */
  requestArrived(slot: number): void {
    if (this.#isHeld[slot] === NOT_HELD && ++this.held > this.count) {
      throw fail("no more requests are held than there are slots");
    }
    this.#isHeld[slot] = HELD;
  }

  /** Notes that the slot no longer has a request. */
  requestLeft(slot: number): void {
    if (this.#isHeld[slot] !== NOT_HELD && --this.held < 0) {
      throw fail("no more requests leave than have arrived");
    }
    this.#isHeld[slot] = NOT_HELD;
  }

  /** Notes that the kernel has returned a command, with or without its slot. */
  commandReturned(): void {
    if (--this.live < 0) throw fail("the kernel gives back no more commands than it was given");
  }

  /** Starts timing a request. Its answer will record the latency, and be traced. */
  begin(slot: number): void {
    this.#startedUs[slot] = monotonicUs();
    if (this.#log.level <= LOG_TRACE) {
      this.#log.event(
        EVENT_REQUEST,
        this.identity[slot],
        this.opFlags(slot),
        this.offset(slot),
        this.bytes(slot),
      );
    }
  }

  /**
   * As {@linkcode begin}, with one reading of the clock for all requests of a batch, and another for
   * those answered by its end. Reading it twice per request costs more than their Promises. Only
   * for handlers that have `promises`: for others, nobody calls {@linkcode endBatch}.
   */
  beginInBatch(slot: number): void {
    if (this.#batchUs[0] === 0) this.#batchUs[0] = monotonicUs();
    this.#startedUs[slot] = this.#batchUs[0];
  }

  /** Notes the end of a batch. */
  endBatch(): void {
    if (this.#batchUs[0] === 0) return;
    if (this.#prompt > 0) {
      const us = monotonicUs() - this.#batchUs[0];
      for (let nth = 0; nth < this.#prompt; nth++) {
        this.stats(this.#promptSlots[nth]).latency(this.#promptOps[nth], us);
      }
      this.#prompt = 0;
    }
    this.#batchUs[0] = 0;
  }

  /** Time of {@linkcode begin}, in microseconds of the monotonic clock. */
  startedUs(slot: number): number {
    return this.#startedUs[slot];
  }

  /**
   * Answers the request and asks for the next one. The kernel copies a READ's data from the slot's
   * address now, and writes the data of the tag's next WRITE there.
   *
   * @param result Bytes done, or a negative errno.
   */
  answer(slot: number, result: number): void {
    if (this.#isHeld[slot] === NOT_HELD) throw fail("a request is answered once");
    if (result < LEAST_RESULT) throw fail("an answer is bytes or an errno");
    // All that is read comes before anything is written: V8 then reads each array's place once.
    const op = this.opFlags(slot) & 0xff;
    const bytes = this.bytes(slot);
    const stats = this.stats(slot);
    this.requestLeft(slot);
    if (result >= 0) stats.count(op, bytes);
    else stats.error();
    const startedUs = this.#startedUs[slot];
    if (startedUs > 0) {
      this.#startedUs[slot] = 0;
      if (startedUs === this.#batchUs[0]) {
        this.#promptSlots[this.#prompt] = slot;
        this.#promptOps[this.#prompt++] = op;
      } else stats.latency(op, monotonicUs() - startedUs);
      if (this.#log.level <= LOG_TRACE) {
        this.#log.event(EVENT_ANSWER, this.identity[slot], result, 0, 0);
      }
    }
    this.commit(slot, result);
  }

  /**
   * Queues an answer behind the previous SQE, linked to it. The kernel sends the answer when that
   * SQE has completed in full. No completion reports this, so the slot counts as held until it gets
   * another request, is returned, or is found answered by {@linkcode ask}.
   */
  follow(slot: number, op: number, bytes: number): void {
    if (!this.mayFollow) throw fail("an answer is linked only where that may be");
    if (this.#isHeld[slot] !== HELD) throw fail("it is to a request");
    this.#stats[this.#queueIndex[slot]].count(op, bytes);
    this.#isHeld[slot] = FOLLOWED;
    this.commit(slot, bytes);
  }

  /** Takes back {@linkcode follow}: the SQE before it failed, so the answer was not sent. */
  chainBroken(slot: number): void {
    if (this.#isHeld[slot] === NOT_HELD) fail("the request of a chain that failed is held");
    this.#isHeld[slot] = HELD;
    this.#stats[this.#queueIndex[slot]].uncount(this.opFlags(slot) & 0xff, this.bytes(slot));
  }
}
