/**
 * The handler for a backend that works through the ring. A request becomes operations on the
 * serving thread's own ring, between a file and the place of the data. It is answered when the last
 * operation has completed. The thread waits for them and for new requests in one system call.
 *
 * @module
 */

import type { Backend, RingMethods, RingOperations } from "../disk/backend.ts";
import { resultOf, resultOfThrown, ringAnswer } from "../disk/calls.ts";
import { fullResult } from "../disk/operations.ts";
import { FilledRequest } from "../disk/passing_ring.ts";
import { assert, fail } from "../uapi/error.ts";
import { ECANCELED, EIO, ETIMEDOUT } from "../uapi/errno.ts";
import { IORING_ASYNC_CANCEL_ALL, IOSQE_IO_HARDLINK } from "../uapi/io_uring_sqe.ts";
import { UBLK_IO_F_FUA, UBLK_IO_F_NOUNMAP } from "../uapi/ublk_io.ts";
import { Mapping, pageBytes } from "../uring/mapping.ts";
import type { Ring } from "../uring/ring.ts";
import {
  prepCancel,
  prepFallocate,
  prepFsync,
  prepRead,
  prepTimeout,
  prepWrite,
  setSqeFlags,
} from "../uring/sqe.ts";
import type { DataPath, Express, Handler, Places } from "./data_path.ts";
import { makeExpress } from "./express.ts";
import { LOG_WARN } from "./log_events.ts";
import type { LogWriter } from "./log_ring.ts";
import type { Metadata } from "./metadata.ts";
import {
  FOLLOWED,
  NOT_PLAIN,
  PLAIN,
  PlainTransfers,
  type PlainTransfersParts,
} from "./plain_transfers.ts";
import type { SharedMemory } from "./shared_memory.ts";
import { SlotFaults } from "./slot_faults.ts";
import { KIND_BACKEND, KIND_CANCEL, type Slots } from "./slots.ts";

/** Default limit of operations that one request may have under way. */
export const OPERATIONS_PER_REQUEST = 4;

/** The request of one slot. Made once and refilled for each request. */
class SlotRequest extends FilledRequest {
  /** Operations under way. */
  pending = 0;
  /** The answer, once there is one. */
  answer: number | undefined = undefined;
}

/** The parts of a {@linkcode RingHandler}. */
export interface RingHandlerParts
  extends Partial<Pick<PlainTransfersParts, "plainFd" | "plainFile" | "registeredBytes">> {
  /** The backend that answers, by its `ring` methods. */
  readonly backend: Backend;
  /** The thread's ring. It has room for the backend's `operations` for each slot. */
  readonly ring: Ring;
  /** The thread's slots. */
  readonly slots: Slots;
  /** The places of the data. The caller keeps ownership. */
  readonly places: Places;
  /** The log channel. */
  readonly log: LogWriter;
  /** The integrity metadata of requests. */
  readonly metadata?: Metadata;
  /** Requests' data in memory that clients share. */
  readonly shared?: SharedMemory;
  /**
   * Operations have the deadline too, and are cancelled when it passes.
   *
   * @default false
   */
  readonly bounded?: boolean;
}

/** Serves a `synchronous` backend that has `ring` methods. */
export class RingHandler implements Handler, RingOperations {
  /** The data path, which takes the answers. */
  path!: DataPath;
  outstanding = 0;
  readonly timesAll: boolean;

  readonly #methods: RingMethods;
  readonly #most: number;
  readonly #ring: Ring;
  readonly #slots: Slots;
  readonly #places: Places;
  readonly #metadata: Metadata | undefined;
  readonly #shared: SharedMemory | undefined;
  readonly #log: LogWriter;
  readonly #faults: SlotFaults;
  readonly #transfers: PlainTransfers | undefined;
  readonly #requests: SlotRequest[] = [];
  /** Per slot, the state of its plain transfer, which bypasses the backend: `NOT_PLAIN` etc. */
  readonly #plain: Uint8Array<ArrayBuffer>;
  /** `struct __kernel_timespec` of each slot's timeout. */
  readonly #timespecs: Mapping;
  readonly #seconds: BigInt64Array<ArrayBuffer>;
  /** The slot whose request the backend is working on. */
  #slot = 0;
  /** Start of the drain whose deadline cancelled our operations (µs). */
  #givenUpUs = 0;
  /** Whether the operations being queued form one chain, and the chain's last SQE so far. */
  #linked = false;
  #last = -1;

  /** Takes over the parts. */
  constructor(parts: RingHandlerParts) {
    assert(parts.backend.ring !== undefined, "the backend has ring methods");
    this.#methods = parts.backend.ring;
    this.#most = this.#methods.operations ?? OPERATIONS_PER_REQUEST;
    this.#ring = parts.ring;
    this.#slots = parts.slots;
    this.#places = parts.places;
    this.#metadata = parts.metadata;
    this.#shared = parts.shared;
    this.#log = parts.log;
    this.#faults = new SlotFaults(parts.slots, parts.log);
    this.timesAll = parts.bounded === true;
    const { plainFd } = parts;
    if (plainFd !== undefined) this.#transfers = new PlainTransfers({ ...parts, plainFd });
    const { count } = parts.slots;
    this.#plain = new Uint8Array(count);
    for (let slot = 0; slot < count; slot++) this.#requests.push(new SlotRequest());
    this.#timespecs = Mapping.anonymous(Math.ceil(count * 16 / pageBytes()) * pageBytes());
    this.#seconds = new BigInt64Array(this.#timespecs.buffer());
  }

  handle(slot: number, linked: boolean): void {
    const transfers = this.#transfers;
    const state = transfers === undefined ? NOT_PLAIN : transfers.start(slot, linked);
    if (this.#plain[slot] !== FOLLOWED) this.outstanding++;
    this.#plain[slot] = state;
    if (state === NOT_PLAIN) this.#prepare(slot, linked);
  }

  #transferred(slot: number, result: number): void {
    const counted = this.#plain[slot] !== PLAIN;
    this.#plain[slot] = NOT_PLAIN;
    if (counted) this.#slots.chainBroken(slot);
    const isDone = result === this.#slots.bytes(slot);
    if (!isDone && result !== -ECANCELED) return this.#prepare(slot, false);
    this.outstanding--;
    this.path.finish(slot, isDone ? result : this.timesAll ? -ETIMEDOUT : -EIO);
  }

  express(): Express | undefined {
    const lane = this.#transfers?.lane();
    if (lane === undefined) return undefined;
    const own = { ring: this.#ring, slots: this.#slots, plain: this.#plain };
    return makeExpress({ ...lane, ...own, handler: this });
  }

  returnedByKernel(slot: number): void {
    if (this.#plain[slot] !== FOLLOWED) return;
    this.#plain[slot] = NOT_PLAIN;
    if (--this.outstanding < 0) fail("a slot is given back once");
  }

  #prepare(slot: number, linked: boolean): void {
    const slots = this.#slots;
    const request = this.#requests[slot];
    const opFlags = slots.opFlags(slot);
    request.op = opFlags & 0xff;
    request.offset = slots.offset(slot);
    request.length = slots.bytes(slot);
    request.fua = (opFlags & UBLK_IO_F_FUA) !== 0;
    request.mayUnmap = (opFlags & UBLK_IO_F_NOUNMAP) === 0;
    request.metadataLength = this.#metadata === undefined ? 0 : this.#metadata.length(slot);
    request.state = 0;
    request.pending = 0;
    request.answer = undefined;
    this.#slot = slot;
    this.#linked = linked;
    this.#last = -1;
    try {
      const answer = this.#methods.prepare(request, this);
      if (answer !== undefined) request.answer = ringAnswer(answer as number);
    } catch (thrown) {
      request.answer = resultOfThrown(thrown, slot, this.#faults);
    }
    this.#linked = false;
    this.#settle(slot, request);
  }

  operationDone(slot: number, result: number): void {
    if (this.#plain[slot] !== NOT_PLAIN) return this.#transferred(slot, result);
    const request = this.#requests[slot];
    if (--request.pending < 0) fail("no more operations are done than were queued");
    this.#slot = slot;
    if (result === -ECANCELED && this.timesAll) request.answer ??= -ETIMEDOUT;
    try {
      const answer = this.#methods.complete(request, result, this);
      // Keep the first error; later completions cannot repair it.
      if (answer !== undefined && !(request.answer! < 0)) {
        request.answer = ringAnswer(answer as number);
      }
    } catch (thrown) {
      request.answer = resultOfThrown(thrown, slot, this.#faults);
    }
    this.#settle(slot, request);
  }

  cancelled(slot: number): void {
    if (this.#plain[slot] !== NOT_PLAIN) return this.#transferred(slot, -ECANCELED);
    for (let count = this.#requests[slot].pending; count > 0; count--) {
      this.operationDone(slot, -ECANCELED);
    }
  }

  #settle(slot: number, request: SlotRequest): void {
    // The data is in use until the last operation has completed, even if the answer is known.
    if (request.pending > 0) return;
    let result = request.answer ?? -EIO;
    if (result >= 0) {
      result = resultOf(result, fullResult(request.op, request.length), slot, this.#faults);
    }
    if (--this.outstanding < 0) fail("a request is finished once");
    this.path.finish(slot, result);
  }

  read(fd: number, at: number, length: number, offset: number): void {
    this.#admit();
    const slot = this.#slot;
    const address = this.#address(slot) + at;
    const buffer = this.#bufferIndex(slot);
    this.#queued(
      prepRead(this.#ring, fd, address, length, offset, slot, KIND_BACKEND, buffer),
    );
  }

  write(fd: number, at: number, length: number, offset: number): void {
    this.#admit();
    const slot = this.#slot;
    const address = this.#address(slot) + at;
    const buffer = this.#bufferIndex(slot);
    this.#queued(
      prepWrite(this.#ring, fd, address, length, offset, slot, KIND_BACKEND, buffer),
    );
  }

  readMetadata(fd: number, offset: number): void {
    this.#admit();
    const slot = this.#slot;
    const address = this.#metadata!.address(slot);
    const length = this.#requests[slot].metadataLength;
    this.#queued(prepRead(this.#ring, fd, address, length, offset, slot, KIND_BACKEND));
  }

  writeMetadata(fd: number, offset: number): void {
    this.#admit();
    const slot = this.#slot;
    const address = this.#metadata!.address(slot);
    const length = this.#requests[slot].metadataLength;
    this.#queued(prepWrite(this.#ring, fd, address, length, offset, slot, KIND_BACKEND));
  }

  fsync(fd: number, dataOnly: boolean): void {
    this.#admit();
    this.#queued(prepFsync(this.#ring, fd, dataOnly, this.#slot, KIND_BACKEND));
  }

  fallocate(fd: number, mode: number, offset: number, length: number): void {
    this.#admit();
    this.#queued(prepFallocate(this.#ring, fd, mode, offset, length, this.#slot, KIND_BACKEND));
  }

  timeout(microseconds: number): void {
    this.#admit();
    const slot = this.#slot;
    this.#seconds[slot * 2] = BigInt(Math.floor(microseconds / 1e6));
    this.#seconds[slot * 2 + 1] = BigInt(Math.round((microseconds % 1e6) * 1e3));
    const address = this.#timespecs.address + slot * 16;
    this.#queued(prepTimeout(this.#ring, address, 0, slot, KIND_BACKEND));
  }

  #address(slot: number): number {
    const shared = this.#shared;
    if (shared !== undefined && shared.has(slot)) return shared.address(slot);
    return this.#places.address(slot);
  }

  #bufferIndex(slot: number): number {
    const shared = this.#shared;
    if (shared !== undefined && shared.has(slot)) return -1;
    return this.#places.bufferIndex(slot);
  }

  /** Checks the request's limit of operations, and makes room for one more. */
  #admit(): void {
    const request = this.#requests[this.#slot];
    if (request.pending >= this.#most) {
      throw new RangeError(`more than ${this.#most} operations for one request`);
    }
    // For a chain, the path that began it has made room.
    if (!this.#linked) this.#ring.reserve(1);
  }

  #queued(at: number): void {
    if (at < 0) fail("room was made for the operation");
    this.#requests[this.#slot].pending++;
    if (!this.#linked) return;
    // A hard link: the next operation runs even after an error, so that each one completes.
    if (this.#last >= 0) setSqeFlags(this.#ring, this.#last, IOSQE_IO_HARDLINK);
    this.#last = at;
  }

  /**
   * Cancels operations. They belong to the kernel and have no deadline, unless they are bounded.
   * But a stopping device waits for its requests, so all operations are cancelled when a drain
   * times out. They complete with an error, and so does the request.
   */
  expire(nowUs: number, deadlineUs: number, givenUpUs = 0): number {
    const all = givenUpUs !== 0 && this.#givenUpUs !== givenUpUs;
    if (all) this.#givenUpUs = givenUpUs;
    else if (!this.timesAll) return 0;
    let count = 0;
    this.#requests.forEach(({ pending }, slot) => {
      if (pending === 0 && this.#plain[slot] === NOT_PLAIN) return;
      const waitsUs = nowUs - this.#slots.startedUs(slot);
      if (!all) {
        if (waitsUs <= deadlineUs) return;
        const tag = `queue ${this.#slots.queue(slot)} tag ${this.#slots.tag(slot)}`;
        this.#log.text(LOG_WARN, `${tag}: not done in ${Math.round(waitsUs / 1e3)} ms; cancelling`);
      }
      this.#ring.reserve(1);
      const at = prepCancel(this.#ring, slot, KIND_BACKEND, 0, KIND_CANCEL);
      this.#ring.sqes[at + 7] = IORING_ASYNC_CANCEL_ALL;
      count++;
    });
    return count;
  }

  [Symbol.dispose](): void {
    // The kernel may still access the memory that an operation names.
    if (this.outstanding > 0) return;
    this.#timespecs[Symbol.dispose]();
  }
}
