/**
 * Calls the backend's method for one request.
 *
 * @module
 */

import type { Backend, WriteOptions } from "../disk/backend.ts";
import { EIO, EOPNOTSUPP } from "../uapi/errno.ts";
import {
  UBLK_IO_F_FUA,
  UBLK_IO_F_NOUNMAP,
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
} from "../uapi/ublk_io.ts";
import { thrownText, UblkError } from "../uapi/error.ts";
import { errnoOf } from "../disk/errno_of.ts";
import { LOG_ERROR, LOG_WARN } from "./log_events.ts";
import type { LogWriter } from "./log_ring.ts";
import type { Slots } from "./slots.ts";

// Made once: options objects per request would be garbage.
const FUA = Object.freeze({ fua: true });
const NO_FUA = Object.freeze({ fua: false });
const MAY_UNMAP = Object.freeze({ mayUnmap: true });
const NO_UNMAP = Object.freeze({ mayUnmap: false });

/** How a request with those `op_flags` is to be written. */
export function writeOptions(opFlags: number): WriteOptions {
  return (opFlags & UBLK_IO_F_FUA) === 0 ? NO_FUA : FUA;
}

/** Calls `readAt` or `writeAt`. Returns what the backend returned, or throws what it threw. */
export function transfer(
  backend: Backend,
  opFlags: number,
  buffer: Uint8Array<ArrayBuffer>,
  offset: number,
): unknown {
  if ((opFlags & 0xff) === UBLK_IO_OP_READ) return backend.readAt(buffer, offset);
  return backend.writeAt(buffer, offset, writeOptions(opFlags));
}

/** Whether an operation carries data. */
export function carriesData(op: number): boolean {
  return op === UBLK_IO_OP_READ || op === UBLK_IO_OP_WRITE;
}

/** Calls the method of an operation without data. */
export function dataless(
  backend: Backend,
  opFlags: number,
  offset: number,
  bytes: number,
): unknown {
  switch (opFlags & 0xff) {
    case UBLK_IO_OP_FLUSH:
      if (backend.flush !== undefined) return backend.flush();
      break;
    case UBLK_IO_OP_DISCARD:
      if (backend.trim !== undefined) return backend.trim(offset, bytes);
      break;
    case UBLK_IO_OP_WRITE_ZEROES:
      if (backend.writeZeroes !== undefined) {
        const options = (opFlags & UBLK_IO_F_NOUNMAP) === 0 ? MAY_UNMAP : NO_UNMAP;
        return backend.writeZeroes(offset, bytes, options);
      }
      break;
  }
  // What is absent is not advertised, so the kernel asks for none of this.
  throw new UblkError("SYSCALL_FAILED", {
    operation: `operation ${opFlags & 0xff}`,
    errno: EOPNOTSUPP,
  });
}

/** The bytes that a request without error answers: only READ and WRITE count any. */
export function fullResult(op: number, bytes: number): number {
  return carriesData(op) ? bytes : 0;
}

/**
 * The result for what a backend's method returned (or its Promise resolved to). Nothing is right;
 * a number is taken for a count of bytes, and one that is short is an error and not a result.
 */
export function resultOf(value: unknown, full: number, slots: Slots, slot: number, log: LogWriter) {
  if (value === undefined || value === full) return full;
  log.text(
    LOG_WARN,
    `queue ${slots.queue(slot)} tag ${slots.tag(slot)}: the backend returned ` +
      `${typeof value === "number" ? value : typeof value} for ${full} bytes; answering EIO`,
  );
  return -EIO;
}

/** The result for what a backend threw, with a line in the log. */
export function resultOfThrown(thrown: unknown, slots: Slots, slot: number, log: LogWriter) {
  const errno = errnoOf(thrown);
  log.text(
    LOG_WARN,
    `queue ${slots.queue(slot)} tag ${slots.tag(slot)}: operation ${slots.opFlags(slot) & 0xff} ` +
      `at ${slots.offset(slot)}: ${thrownText(thrown)}; answering errno ${errno}`,
  );
  return -errno;
}

/**
 * The result for a Promise from a backend that declares `synchronous`: its thread blocks in the
 * kernel, where nothing would ever run the Promise's continuation.
 */
export function refusePromise(promise: PromiseLike<unknown>, log: LogWriter): number {
  log.text(LOG_ERROR, "a backend that declares `synchronous` returned a Promise");
  // Were it to reject with nobody listening, the thread would end for that.
  promise.then(undefined, () => {});
  return -EIO;
}

/** Whether a method returned a Promise, or something that behaves like one. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null &&
    typeof (value as { then?: unknown }).then === "function";
}
