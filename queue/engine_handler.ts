/**
 * The handler for a backend that is an engine: it holds requests, answers any of them at any time,
 * and has operations of its own on the serving thread's ring.
 *
 * Each operation has a number, which travels as its user data. So a cancellation names one operation,
 * whatever tokens the engine chooses, and tables made once hold all that is known of it.
 *
 * @module
 */

import { ringAnswer } from "../disk/calls.ts";
import type { Engine, EngineHost, EngineMemory } from "../disk/engine.ts";
import { carriesData, fullResult } from "../disk/operations.ts";
import { EAGAIN, ECANCELED, EINTR, EIO, ETIMEDOUT } from "../uapi/errno.ts";
import { assert, fail, stackText } from "../uapi/error.ts";
import { IORING_OP_READ, IORING_OP_WRITE } from "../uapi/io_uring_sqe.ts";
import { UBLK_IO_F_FUA, UBLK_IO_F_NOUNMAP } from "../uapi/ublk_io.ts";
import { monotonicUs } from "../uring/libc.ts";
import { Mapping, pageAlign } from "../uring/mapping.ts";
import type { Ring } from "../uring/ring.ts";
import {
  prepare,
  prepCancel,
  prepFsync,
  prepRead,
  prepTimeout,
  put64,
  writeDurably,
} from "../uring/sqe.ts";
import type { SlotBuffers } from "./buffers.ts";
import { DRAIN_MS } from "./control_block.ts";
import type { DataPath, Handler } from "./data_path.ts";
import { LOG_ERROR, LOG_WARN } from "./log_events.ts";
import type { LogWriter } from "./log_ring.ts";
import type { SharedMemory } from "./shared_memory.ts";
import { KIND_BACKEND, KIND_CANCEL, KIND_WOKEN, type Slots } from "./slots.ts";

/** The engine does not hold the slot's request. */
const CLOSED = 0;
/** It does. */
const OPEN = 1;
/** It does, and did when the drain began. */
const OLD = 2;
/** It does, but the kernel has taken the slot back: the answer goes nowhere. */
const RETURNED = 3;

/** An operation is not under way. */
const NOT_UNDER_WAY = 0;
/** It is. */
const UNDER_WAY = 1;
/** It is, and was cancelled. */
const CANCELLED = 2;

/** An operation on the engine's own memory, or on none. */
const NO_REQUEST = -1;
/** A number that no operation has. */
const NO_OPERATION = -1;

/** Time between `giveUp` and the end of all patience with an engine. */
const GRACE_US = DRAIN_MS * 1e3;
/** Time between the first `giveUp` of a device that goes on and the end of its engine's operations. */
const LATER_US = 1.5e6;

/** Offset in the handler's page of the timers' `struct __kernel_timespec`s, in words. */
const TIMESPECS_WORD = 4;
const TIMESPEC_WORDS = 4;
/** Bytes of an eventfd's counter, which is at the start of the page. */
const COUNTER_BYTES = 8;

const EMPTY = new Uint8Array(0);

/** The parts of an {@linkcode EngineHandler}. */
export interface EngineHandlerParts {
  /** The engine. */
  readonly engine: Engine;
  /** The thread's ring. It has room for the engine's `operations`. */
  readonly ring: Ring;
  /** The thread's slots. */
  readonly slots: Slots;
  /** The buffers with the data. The caller keeps ownership. */
  readonly places: SlotBuffers;
  /** The log channel. */
  readonly log: LogWriter;
  /** Requests' data in memory that clients share. */
  readonly shared?: SharedMemory;
  /**
   * Requests have the deadline, and the engine gives up when it passes.
   *
   * @default false
   */
  readonly bounded?: boolean;
}

/** Serves an engine. Its requests are the thread's slots. */
export class EngineHandler implements Handler, EngineHost {
  /** The data path, which takes the answers. */
  path!: DataPath;
  outstanding = 0;
  readonly timesAll: boolean;
  readonly requests: number;

  readonly #engine: Engine;
  readonly #ring: Ring;
  readonly #slots: Slots;
  readonly #places: SlotBuffers;
  readonly #shared: SharedMemory | undefined;
  readonly #log: LogWriter;
  /** Per slot: `CLOSED`, `OPEN` and so on. */
  readonly #states: Uint8Array<ArrayBuffer>;
  /** Per slot: operations under way that use the request's data. */
  readonly #uses: Uint16Array<ArrayBuffer>;
  /** Per operation: the engine's token. */
  readonly #tokens: Int32Array<ArrayBuffer>;
  /** Per operation: the request whose data it uses, or `NO_REQUEST`. */
  readonly #users: Int32Array<ArrayBuffer>;
  /** Per operation: `NOT_UNDER_WAY`, `UNDER_WAY` or `CANCELLED`. */
  readonly #progress: Uint8Array<ArrayBuffer>;
  /** Numbers of operations that are free: a stack. */
  readonly #free: Uint16Array<ArrayBuffer>;
  #freeCount: number;
  /** The eventfd's counter and the timers' times. */
  readonly #page: Mapping;
  readonly #words: Uint32Array<ArrayBuffer>;
  /** The ring reads the engine's eventfd. */
  #listens = false;
  /** The engine has failed. It is called no more, and every request is answered with an error. */
  #isBroken = false;
  /** There are no more requests, so no operation begins any more. */
  #isEnding = false;
  /** Time of the first `giveUp` (µs), while it has not helped yet. */
  #gaveUpUs = 0;
  /** It was for the device's end. */
  #gaveUpAll = false;

  /** Takes over the parts. */
  constructor(parts: EngineHandlerParts) {
    const { operations } = parts.engine;
    const { count } = parts.slots;
    assert(operations > 0 && operations <= 0xffff, "the numbers of operations fit their arrays");
    this.#engine = parts.engine;
    this.#ring = parts.ring;
    this.#slots = parts.slots;
    this.#places = parts.places;
    this.#shared = parts.shared;
    this.#log = parts.log;
    this.timesAll = parts.bounded === true;
    this.requests = count;
    this.#states = new Uint8Array(count);
    this.#uses = new Uint16Array(count);
    this.#tokens = new Int32Array(operations);
    this.#users = new Int32Array(operations);
    this.#progress = new Uint8Array(operations);
    this.#free = Uint16Array.from({ length: operations }, (_, nth) => operations - 1 - nth);
    this.#freeCount = operations;
    const words = TIMESPECS_WORD + operations * TIMESPEC_WORDS;
    this.#page = Mapping.anonymous(pageAlign(words * 4));
    this.#words = new Uint32Array(this.#page.buffer());
  }

  /** Number of operations under way. */
  get operations(): number {
    return this.#tokens.length - this.#freeCount;
  }

  start(): void {
    this.#engine.start(this);
    this.#listen();
  }

  handle(slot: number): void {
    if (this.#states[slot] !== CLOSED) fail("a slot has one request");
    this.#states[slot] = OPEN;
    this.outstanding++;
    if (this.#isBroken) return this.#finish(slot, -EIO);
    try {
      this.#engine.request(slot);
    } catch (thrown) {
      this.#break(thrown);
    }
  }

  operationDone(operation: number, result: number): void {
    // Of a number that no operation has, the progress is undefined.
    if (!(this.#progress[operation] > NOT_UNDER_WAY)) fail("an operation is done once");
    this.#progress[operation] = NOT_UNDER_WAY;
    this.#free[this.#freeCount++] = operation;
    const request = this.#users[operation];
    if (request !== NO_REQUEST) this.#uses[request]--;
    if (!this.#isBroken) {
      try {
        this.#engine.done(this.#tokens[operation], result);
      } catch (thrown) {
        this.#break(thrown);
      }
    } else if (request !== NO_REQUEST) this.#dismiss(request, -EIO);
  }

  batchEnd(): void {
    if (this.#isBroken) return;
    try {
      this.#engine.batchEnd();
    } catch (thrown) {
      this.#break(thrown);
    }
  }

  #listen(): void {
    const { wakeFd } = this.#engine;
    if (wakeFd === undefined || this.#isEnding) return;
    this.#ring.reserve(1);
    prepRead(this.#ring, wakeFd, this.#page.address, COUNTER_BYTES, 0, 0, KIND_WOKEN);
    this.#listens = true;
  }

  woken(result: number): void {
    this.#listens = false;
    if (result === COUNTER_BYTES || result === -EINTR) this.#listen();
    else if (result !== -ECANCELED) {
      const why = result === -EAGAIN ? "it does not block" : `errno ${-result}`;
      this.#log.text(LOG_ERROR, `the engine's eventfd cannot be read: ${why}`);
    }
    if (result !== COUNTER_BYTES || this.#isBroken) return;
    try {
      this.#engine.woken!();
    } catch (thrown) {
      this.#break(thrown);
    }
  }

  returnedByKernel(slot: number): void {
    if (this.#states[slot] !== CLOSED) this.#states[slot] = RETURNED;
  }

  op(request: number): number {
    return this.#slots.opFlags(request) & 0xff;
  }

  offset(request: number): number {
    return this.#slots.offset(request);
  }

  length(request: number): number {
    return this.#slots.bytes(request);
  }

  fua(request: number): boolean {
    return (this.#slots.opFlags(request) & UBLK_IO_F_FUA) !== 0;
  }

  mayUnmap(request: number): boolean {
    return (this.#slots.opFlags(request) & UBLK_IO_F_NOUNMAP) === 0;
  }

  data(request: number): Uint8Array<ArrayBuffer> {
    this.#checkOpen(request);
    if (!carriesData(this.op(request))) return EMPTY;
    const bytes = this.#slots.bytes(request);
    const shared = this.#shared;
    if (shared !== undefined && shared.has(request)) return shared.view(request, bytes);
    return this.#places.view(request, bytes);
  }

  answer(request: number, result: number): void {
    this.#checkOpen(request);
    if (this.#isBroken) return;
    if (this.#uses[request] !== 0) throw new RangeError("an operation still uses the data");
    if (result === 0) {
      const slots = this.#slots;
      result = fullResult(slots.opFlags(request) & 0xff, slots.bytes(request));
    } else {
      // A count of bytes is none of the two possible answers.
      result = result < 0 ? ringAnswer(result) : -EIO;
    }
    this.#finish(request, result);
  }

  #checkOpen(request: number): void {
    // Of a number that no slot has, the state is undefined.
    if (!(this.#states[request] > CLOSED)) throw new RangeError("the request is not open");
  }

  #finish(slot: number, result: number): void {
    const state = this.#states[slot];
    this.#states[slot] = CLOSED;
    if (--this.outstanding < 0) fail("a request is finished once");
    if (this.outstanding === 0) this.#gaveUpUs = 0;
    if (state !== RETURNED) this.path.finish(slot, result);
  }

  readInto(
    request: number,
    at: number,
    length: number,
    fd: number,
    offset: number,
    token: number,
  ): void {
    this.#checkOpen(request);
    const bytes = carriesData(this.op(request)) ? this.#slots.bytes(request) : 0;
    if (!(at >= 0 && length > 0 && at + length <= bytes)) throw beyond();
    const operation = this.#begin(token, request);
    if (operation === NO_OPERATION) return;
    const shared = this.#shared;
    const start = shared !== undefined && shared.has(request)
      ? shared.address(request)
      : this.#places.address(request);
    const sqe = this.#transfer(IORING_OP_READ, fd, length, operation);
    put64(this.#ring.sqes, sqe + 2, offset);
    put64(this.#ring.sqes, sqe + 4, start + at);
  }

  read(
    memory: EngineMemory,
    at: number,
    length: number,
    fd: number,
    offset: number,
    token: number,
  ): void {
    if (!(at >= 0 && length > 0 && at + length <= memory.bytes.length)) throw beyond();
    const operation = this.#begin(token, NO_REQUEST);
    if (operation === NO_OPERATION) return;
    const sqe = this.#transfer(IORING_OP_READ, fd, length, operation);
    put64(this.#ring.sqes, sqe + 2, offset);
    put64(this.#ring.sqes, sqe + 4, memory.address + at);
  }

  write(
    memory: EngineMemory,
    at: number,
    length: number,
    fd: number,
    offset: number,
    token: number,
    durable = false,
  ): void {
    if (!(at >= 0 && length > 0 && at + length <= memory.bytes.length)) throw beyond();
    const operation = this.#begin(token, NO_REQUEST);
    if (operation === NO_OPERATION) return;
    const sqe = this.#transfer(IORING_OP_WRITE, fd, length, operation);
    put64(this.#ring.sqes, sqe + 2, offset);
    put64(this.#ring.sqes, sqe + 4, memory.address + at);
    if (durable) writeDurably(this.#ring, sqe);
  }

  sync(fd: number, token: number): void {
    const operation = this.#begin(token, NO_REQUEST);
    if (operation === NO_OPERATION) return;
    prepFsync(this.#ring, fd, true, operation, KIND_BACKEND);
  }

  timeout(microseconds: number, token: number): void {
    if (!(microseconds >= 0 && microseconds < Infinity)) throw new RangeError("no length of time");
    const operation = this.#begin(token, NO_REQUEST);
    if (operation === NO_OPERATION) return;
    // The low words; the high ones stay 0. A bigint would be garbage.
    const word = TIMESPECS_WORD + operation * TIMESPEC_WORDS;
    const seconds = Math.floor(microseconds / 1e6);
    this.#words[word] = seconds;
    this.#words[word + 2] = Math.floor((microseconds - seconds * 1e6) * 1e3);
    prepTimeout(this.#ring, this.#page.address + word * 4, 0, operation, KIND_BACKEND);
  }

  nowUs(): number {
    return monotonicUs();
  }

  /**
   * Fills in an SQE but for two numbers that may exceed 32 bits. V8 would allocate those if they were
   * passed on.
   */
  #transfer(opcode: number, fd: number, length: number, operation: number): number {
    const sqe = prepare(this.#ring, opcode, fd, operation, KIND_BACKEND);
    if (sqe < 0) fail("room was made for the operation");
    this.#ring.sqes[sqe + 6] = length;
    return sqe;
  }

  /** Begins an operation, for which there then is an SQE. Returns its number, or NO_OPERATION. */
  #begin(token: number, request: number): number {
    if (this.#isEnding || this.#isBroken) return NO_OPERATION;
    if ((token | 0) !== token || token < 0) throw new RangeError("no token");
    if (this.#freeCount === 0) throw new RangeError("too many operations under way");
    this.#ring.reserve(1);
    const operation = this.#free[--this.#freeCount];
    this.#progress[operation] = UNDER_WAY;
    this.#tokens[operation] = token;
    this.#users[operation] = request;
    if (request !== NO_REQUEST) this.#uses[request]++;
    return operation;
  }

  /** Stops calling the engine, and answers for it. */
  #break(thrown: unknown): void {
    if (this.#isBroken) return;
    this.#log.text(LOG_ERROR, "the engine threw; answering EIO from now on");
    for (const line of stackText(thrown).split("\n")) this.#log.text(LOG_ERROR, line);
    this.#abandon(-EIO);
  }

  #abandon(result: number): void {
    this.#isBroken = true;
    for (let slot = 0; slot < this.requests; slot++) this.#dismiss(slot, result);
  }

  /** Answers a request for the engine, unless an operation uses its data or it is not open. */
  #dismiss(slot: number, result: number): void {
    if (this.#states[slot] !== CLOSED && this.#uses[slot] === 0) this.#finish(slot, result);
  }

  drain(): void {
    // Requests are timed only if they are bounded, so mark these.
    const states = this.#states;
    for (let slot = 0; slot < states.length; slot++) {
      if (states[slot] === OPEN) states[slot] = OLD;
    }
  }

  /**
   * Cancels operations and has the engine give up, if requests are too old. Operations belong to the
   * kernel and have no deadline of their own. An engine that answers nothing all the same is left.
   */
  expire(nowUs: number, deadlineUs: number, givenUpUs = 0): number {
    const count = this.#overdue(nowUs, deadlineUs, givenUpUs);
    // Later ones have a grace of their own.
    if (this.#overdue(this.#gaveUpUs, deadlineUs, givenUpUs) === 0) this.#gaveUpUs = 0;
    if (count === 0) return 0;
    const isEnd = givenUpUs !== 0;
    const isFirst = this.#gaveUpUs === 0 || isEnd && !this.#gaveUpAll;
    if (isFirst) {
      this.#gaveUpUs = nowUs;
      this.#gaveUpAll = isEnd;
      this.#log.text(LOG_WARN, `${count} requests are overdue; the engine gives them up`);
    } else if (nowUs - this.#gaveUpUs > GRACE_US && !this.#isBroken) {
      this.#log.text(LOG_ERROR, "the engine did not give up; answering for it from now on");
      this.#abandon(-ETIMEDOUT);
    }
    // A device that goes on leaves alone what others need, such as a write to the engine's log, unless
    // the engine still holds old requests after a while.
    const isOverdue = (slot: number) => this.#isOverdue(slot, nowUs, deadlineUs, givenUpUs);
    const isLater = nowUs - this.#gaveUpUs > LATER_US;
    this.#cancelAll((user) => isEnd || (user === NO_REQUEST ? isLater : isOverdue(user)));
    if (!isEnd) this.#giveUp(isOverdue);
    else if (isFirst) this.#giveUp();
    return count;
  }

  #overdue(nowUs: number, deadlineUs: number, givenUpUs: number): number {
    let count = 0;
    for (let slot = 0; slot < this.#states.length; slot++) {
      if (this.#isOverdue(slot, nowUs, deadlineUs, givenUpUs)) count++;
    }
    return count;
  }

  #isOverdue(slot: number, nowUs: number, deadlineUs: number, givenUpUs: number): boolean {
    const state = this.#states[slot];
    if (!(state > CLOSED)) return false;
    if (!this.timesAll) return givenUpUs !== 0 && state === OLD;
    const startedUs = this.#slots.startedUs(slot);
    return nowUs - startedUs > deadlineUs || startedUs < givenUpUs;
  }

  #giveUp(isOverdue?: (request: number) => boolean): void {
    if (this.#isBroken) return;
    try {
      this.#engine.giveUp(isOverdue);
    } catch (thrown) {
      this.#break(thrown);
    }
  }

  /** Cancels operations, each once, chosen by the requests that use them. */
  #cancelAll(chooses: (user: number) => boolean): void {
    for (let operation = 0; operation < this.#progress.length; operation++) {
      if (this.#progress[operation] !== UNDER_WAY || !chooses(this.#users[operation])) continue;
      this.#progress[operation] = CANCELLED;
      this.#cancel(operation, KIND_BACKEND);
    }
  }

  #cancel(operation: number, kind: number): void {
    this.#ring.reserve(1);
    prepCancel(this.#ring, operation, kind, 0, KIND_CANCEL);
  }

  end(): number {
    if (!this.#isEnding) {
      this.#isEnding = true;
      this.#cancelAll(() => true);
      if (this.#listens) this.#cancel(0, KIND_WOKEN);
    }
    return this.operations + (this.#listens ? 1 : 0);
  }

  [Symbol.dispose](): void {
    // The kernel may still write the counter.
    if (this.#listens) return;
    this.#page[Symbol.dispose]();
  }
}

function beyond(): RangeError {
  return new RangeError("the operation goes beyond the memory");
}
