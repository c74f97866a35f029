/**
 * The slots that one thread owns: which requests they have, and what is counted of them.
 *
 * A slot is one (queue, tag), whose request the kernel describes in a `ublksrv_io_desc` that is
 * mapped into this process. How requests arrive and leave is the business of the two kinds of
 * slots: one command per request (`fetch_slots.ts`), or one for many (`batch_slots.ts`).
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

// Kinds start at 1, so that a ring that was taken away (see `device/teardown.ts`) and reads as
// zeroes shows none of them. They take the low byte of a word; what is above is the owner's.

/**
 * `kind` of the completions of all commands for a slot. They need not be told apart: whichever of
 * them the driver holds, it completes it with what the slot gets next.
 */
export const KIND_IO = 1;
/** `kind` of the completion that an order from outside causes. */
export const KIND_WAKE = 2;
/** `kind` of the completions of what a backend queued itself. */
export const KIND_BACKEND = 3;
/** `kind` of the completions of what a data path queued itself. */
export const KIND_PATH = 4;
/** `kind` of the completions of commands for many slots. */
export const KIND_BATCH = 5;
/** `kind` of the completion that ends the wait for slots which the kernel has not given back. */
export const KIND_LEAVE = 6;
/** `kind` of the completions of cancellations, which tell nothing. */
export const KIND_CANCEL = 7;

/** `kind` of the completions of questions: see {@linkcode Slots.ask}. */
export const KIND_ASK = 8;

const KINDS = [
  ...[KIND_IO, KIND_WAKE, KIND_BACKEND, KIND_PATH, KIND_BATCH, KIND_LEAVE, KIND_CANCEL, KIND_ASK],
];
assert(KINDS.every((kind) => kind > 0 && kind <= 0xff), "a kind fits the low byte, and is not 0");
assert(new Set(KINDS).size === KINDS.length, "completions of two kinds are told apart");

const TWO_32 = 0x1_0000_0000;
const DESC_WORDS = IO_DESC_BYTES / 4;

/** A queue of which a thread owns tags. */
export interface OwnedQueue {
  /** The kernel's number of the queue. */
  readonly queue: number;
  /** Its descriptors, mapped from `/dev/ublkcN`. */
  readonly descriptors: Uint32Array<ArrayBuffer>;
  /** This thread's counters of it. */
  readonly stats: QueueStats;
  /** The first tag that is this thread's. Default: 0. */
  readonly first?: number;
  /** From one of its tags to the next. Default: 1. */
  readonly step?: number;
  /** With batch I/O, whether this thread prepares the queue's tags. Default: true. */
  readonly prepare?: boolean;
}

/** What the slots of a thread belong to. */
export interface SlotsOptions {
  /** The thread's ring. */
  readonly ring: Ring;
  /** The descriptor of `/dev/ublkcN`, or its index among the ring's files. */
  readonly charFd: number;
  /** Whether it is an index. */
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

/** Whether a slot has a request: */
const NOT_HELD = 0;
const HELD = 1;
/** it has, or had, since its answer was left to the kernel (see {@linkcode Slots.follow}). */
const FOLLOWED = 2;

/** The (queue, tag) slots of one thread, numbered from 0: queue by queue, tag by tag. */
export abstract class Slots {
  /** Number of slots. */
  readonly count: number;
  /** Commands that the kernel may still complete. At zero the device is gone for this thread. */
  live = 0;
  /** Requests that have arrived and are not answered yet. */
  held = 0;
  /** Whether the requests of the batch at hand are timed and traced. */
  timed = false;
  /** Whether {@linkcode follow} is possible at all. */
  canFollow = false;
  /** Whether it is to be used now. */
  mayFollow = false;

  readonly #log: LogWriter;
  readonly #descriptors: Uint32Array<ArrayBuffer>[] = [];
  readonly #stats: QueueStats[] = [];
  readonly #queueIndex: Uint16Array<ArrayBuffer>;
  readonly #descriptorWord: Uint32Array<ArrayBuffer>;
  /** `q_id` and `tag` as they stand in the command. */
  protected readonly identity: Uint32Array<ArrayBuffer>;
  readonly #startedUs: Float64Array<ArrayBuffer>;
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
    this.#isHeld = new Uint8Array(this.count);
  }

  /**
   * Queues what hands every slot to the kernel.
   *
   * @param before Called before each tag, with all before it already at the kernel.
   */
  abstract fetchAll(places: SlotPlaces, before?: (queue: number, tag: number) => void): void;

  /** Asks the kernel to copy a WRITE's data to the slot's address. */
  abstract getData(slot: number): void;

  /** Answers the slot's request and asks for the next one. */
  protected abstract commit(slot: number, result: number): void;

  /**
   * A command for many slots has completed.
   *
   * @returns 0, or the positive errno by which tags were lost while the device lived.
   */
  abstract batchDone(index: number, step: number, result: number, flags: number): number;

  /** Queues the commands for what was answered since the last call, where one is for many. */
  abstract flush(): void;

  /**
   * Asks the driver whether it has given the answers that {@linkcode follow} left to the kernel. Each
   * of those slots gets a completion of {@linkcode KIND_ASK} with -EBUSY if so.
   */
  ask(): void {
    for (let slot = 0; slot < this.count; slot++) {
      if (this.#isHeld[slot] === FOLLOWED) this.askFor(slot);
    }
  }

  /** Queues the question for one slot. */
  protected askFor(_slot: number): void {}

  /** Where requests go that arrive by a command for many. */
  path!: DataPath;

  /** The words of the descriptors of the slot's queue. */
  descriptors(slot: number): Uint32Array<ArrayBuffer> {
    return this.#descriptors[this.#queueIndex[slot]];
  }

  /** Where among them the slot's `ublksrv_io_desc` begins. */
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

  /** How many zones a report is to tell of: the same word as the length. */
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

  /** The low word of the request's `addr`: within shared memory, the distance from its start. */
  addrLow(slot: number): number {
    const words = this.#descriptors[this.#queueIndex[slot]];
    return words[this.#descriptorWord[slot] + 4];
  }

  /** The high word of the request's `addr`: for shared memory, the number of the buffer. */
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

  /** Counts a round that found `requests` completions. */
  countBatch(requests: number): void {
    this.#stats[0].batch(requests);
  }

  /** What the express lane needs, where there can be one. */
  lane(): SlotLane | undefined {
    return undefined;
  }

  /** {@linkcode lane} with the slots' own SQEs for commands, of which `commits` is the first. */
  protected laneWith(commits: number): SlotLane | undefined {
    if (commits < 0 || !this.canFollow || this.#descriptors.length !== 1) return undefined;
    return {
      ...{ words: this.#descriptors[0], descriptorWords: this.#descriptorWord, commits },
      stats: this.#stats[0],
      ...{ states: this.#isHeld, held: HELD, idle: NOT_HELD },
    };
  }

  /** Notes that the slot has a request. For one whose data comes later that happens twice. */
  arrived(slot: number): void {
    if (this.#isHeld[slot] === NOT_HELD && ++this.held > this.count) {
      fail("no more requests are held than there are slots");
    }
    this.#isHeld[slot] = HELD;
  }

  /** Notes that the slot has no request any more. */
  left(slot: number): void {
    if (this.#isHeld[slot] !== NOT_HELD && --this.held < 0) {
      fail("no more requests leave than have arrived");
    }
    this.#isHeld[slot] = NOT_HELD;
  }

  /** Notes that the kernel has given back a command, with or without its slot. */
  returned(): void {
    if (--this.live < 0) fail("the kernel gives back no more commands than it was given");
  }

  /** Notes that a request is handled: its answer will record the latency, and be traced. */
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

  /** When {@linkcode begin} was called, in microseconds of the monotonic clock. */
  startedUs(slot: number): number {
    return this.#startedUs[slot];
  }

  /**
   * Answers the request and asks for the next one. A READ's data is copied from the slot's address
   * now, and the tag's next WRITE lands there.
   *
   * @param result Bytes done, or a negative errno.
   */
  answer(slot: number, result: number): void {
    if (this.#isHeld[slot] === NOT_HELD) fail("a request is answered once");
    if (result < LEAST_RESULT) fail("an answer is bytes or an errno");
    const op = this.opFlags(slot) & 0xff;
    const stats = this.#stats[this.#queueIndex[slot]];
    this.left(slot);
    if (result >= 0) stats.count(op, this.bytes(slot));
    else stats.error();
    const startedUs = this.#startedUs[slot];
    if (startedUs > 0) {
      this.#startedUs[slot] = 0;
      stats.latency(op, monotonicUs() - startedUs);
      if (this.#log.level <= LOG_TRACE) {
        this.#log.event(EVENT_ANSWER, this.identity[slot], result, 0, 0);
      }
    }
    this.commit(slot, result);
  }

  /**
   * Queues the answer to a request that the kernel is to give by itself, once the SQE before, which
   * is linked to it, has been done in full. Nobody tells when that is: the slot counts as held until
   * it gets another request, is given back, or {@linkcode ask} has told.
   */
  follow(slot: number, op: number, bytes: number): void {
    if (!this.mayFollow) fail("an answer is linked only where that may be");
    if (this.#isHeld[slot] !== HELD) fail("it is to a request");
    this.#stats[this.#queueIndex[slot]].count(op, bytes);
    this.#isHeld[slot] = FOLLOWED;
    this.commit(slot, bytes);
  }

  /** The SQE before was not done in full, so that the answer behind it was not given. */
  severed(slot: number): void {
    if (this.#isHeld[slot] === NOT_HELD) fail("the request of a chain that failed is held");
    this.#isHeld[slot] = HELD;
    this.#stats[this.#queueIndex[slot]].uncount(this.opFlags(slot) & 0xff, this.bytes(slot));
  }
}
