/**
 * The data path of a backend that works through the ring: a request becomes operations on the
 * serving thread's own ring, between a file and the slot's buffer, and is answered when the last of
 * them has completed. The thread waits for them and for new requests in one system call.
 *
 * @module
 */

import type { Backend, RingMethods, RingOperations, RingRequest } from "../backends/backend.ts";
import { isBlkErrno } from "../uapi/blk_errors.ts";
import { EIO } from "../uapi/errno.ts";
import { UBLK_IO_F_FUA, UBLK_IO_F_NOUNMAP } from "../uapi/ublk_io.ts";
import type { Ring } from "../uring/ring.ts";
import { prepFallocate, prepFsync, prepRead, prepWrite } from "../uring/sqe.ts";
import { SlotBuffers } from "./buffers.ts";
import type { DataPath } from "./data_path.ts";
import type { LogWriter } from "./log_ring.ts";
import { fullResult, resultOf, resultOfThrown } from "./operations.ts";
import { KIND_BACKEND, type Slots } from "./slots.ts";

/** Operations that one request may have queued at a time; the ring has room for as many. */
export const OPERATIONS_PER_REQUEST = 4;

/** A backend's answer as one that the kernel may get: bytes, or an errno that the block layer knows. */
function checked(answer: number): number {
  if (Number.isInteger(answer) && (answer >= 0 || isBlkErrno(-answer))) return answer;
  return -EIO;
}

/** The request of one slot, made once and filled anew each time. */
class SlotRequest implements RingRequest {
  op = 0;
  offset = 0;
  length = 0;
  address = 0;
  fua = false;
  mayUnmap = false;
  /** Operations under way. */
  pending = 0;
  /** The answer, once there is one. */
  answer: number | undefined = undefined;
}

/** Serves a `synchronous` backend that has `ring` methods. */
export class RingPath implements DataPath, RingOperations {
  readonly addresses: Float64Array<ArrayBuffer>;
  outstanding = 0;

  readonly #methods: RingMethods;
  readonly #ring: Ring;
  readonly #slots: Slots;
  readonly #buffers: SlotBuffers;
  readonly #log: LogWriter;
  readonly #requests: SlotRequest[] = [];
  /** The slot whose request the backend is working on. */
  #slot = 0;

  /** The ring must have room for {@linkcode OPERATIONS_PER_REQUEST} SQEs per slot. */
  constructor(backend: Backend, ring: Ring, slots: Slots, maxIoBytes: number, log: LogWriter) {
    this.#methods = backend.ring!;
    this.#ring = ring;
    this.#slots = slots;
    this.#log = log;
    this.#buffers = new SlotBuffers(slots.count, maxIoBytes);
    this.addresses = this.#buffers.addresses;
    for (let slot = 0; slot < slots.count; slot++) this.#requests.push(new SlotRequest());
  }

  request(slot: number): void {
    const slots = this.#slots;
    if (slots.timed) slots.begin(slot);
    const request = this.#requests[slot];
    const opFlags = slots.opFlags(slot);
    request.op = opFlags & 0xff;
    request.offset = slots.offset(slot);
    request.length = slots.bytes(slot);
    request.address = this.addresses[slot];
    request.fua = (opFlags & UBLK_IO_F_FUA) !== 0;
    request.mayUnmap = (opFlags & UBLK_IO_F_NOUNMAP) === 0;
    request.answer = undefined;
    this.outstanding++;
    this.#slot = slot;
    try {
      this.#methods.prepare(request, this);
    } catch (thrown) {
      request.answer = resultOfThrown(thrown, slots, slot, this.#log);
    }
    this.#settle(slot, request);
  }

  /** An operation of the slot's request has completed. */
  operationDone(slot: number, result: number): void {
    const request = this.#requests[slot];
    request.pending--;
    this.#slot = slot;
    try {
      const answer = this.#methods.complete(request, result, this);
      // The first error stays: what completes after it cannot make it good.
      if (answer !== undefined && !(request.answer! < 0)) {
        request.answer = checked(answer as number);
      }
    } catch (thrown) {
      request.answer = resultOfThrown(thrown, this.#slots, slot, this.#log);
    }
    this.#settle(slot, request);
  }

  #settle(slot: number, request: SlotRequest): void {
    // The buffer is in use until the last operation has completed, whatever the answer will be.
    if (request.pending > 0) return;
    let result = request.answer ?? -EIO;
    if (result >= 0) {
      const full = fullResult(request.op, request.length);
      result = resultOf(result, full, this.#slots, slot, this.#log);
    }
    this.outstanding--;
    this.#slots.answer(slot, result);
  }

  read(fd: number, address: number, length: number, offset: number): void {
    this.#queued(prepRead(this.#ring, fd, address, length, offset, this.#slot, KIND_BACKEND));
  }

  write(fd: number, address: number, length: number, offset: number): void {
    this.#queued(prepWrite(this.#ring, fd, address, length, offset, this.#slot, KIND_BACKEND));
  }

  fsync(fd: number, dataOnly: boolean): void {
    this.#queued(prepFsync(this.#ring, fd, dataOnly, this.#slot, KIND_BACKEND));
  }

  fallocate(fd: number, mode: number, offset: number, length: number): void {
    this.#queued(prepFallocate(this.#ring, fd, mode, offset, length, this.#slot, KIND_BACKEND));
  }

  #queued(at: number): void {
    const request = this.#requests[this.#slot];
    if (at < 0) throw new Error("assertion failed: an SQE for every operation");
    if (++request.pending > OPERATIONS_PER_REQUEST) {
      throw new RangeError(`more than ${OPERATIONS_PER_REQUEST} operations for one request`);
    }
  }

  needData(slot: number): void {
    // Only a device with NEED_GET_DATA asks, and such a device has another path.
    this.#slots.answer(slot, -EIO);
  }

  expire(): number {
    // The kernel completes what it was given; there is no Promise to give up.
    return 0;
  }

  [Symbol.dispose](): void {
    // What is under way may still write to its buffer: better to leave the memory than to hand
    // its addresses to somebody else.
    if (this.outstanding > 0 || this.#slots.live > 0) return;
    this.#buffers[Symbol.dispose]();
  }
}
