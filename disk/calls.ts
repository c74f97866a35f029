/**
 * Calls the backend's method for one request, and makes a result of whatever comes of it: a count
 * of bytes, or the negative errno that a block device may answer.
 *
 * This runs for each request, so that nothing here is made for one.
 *
 * @module
 */

import { EIO, EOPNOTSUPP } from "../uapi/errno.ts";
import { thrownText, UblkError } from "../uapi/error.ts";
import {
  UBLK_IO_F_FUA,
  UBLK_IO_F_NOUNMAP,
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE_ZEROES,
} from "../uapi/ublk_io.ts";
import type { Backend, WriteOptions, WriteZeroesOptions } from "./backend.ts";
import { clientErrno, errnoOf } from "./errno_of.ts";

// Made once: options objects per request would be garbage.
/** The options of a write that must be durable before it is answered. */
export const FUA: WriteOptions = Object.freeze({ fua: true });
/** The options of any other write. */
export const NO_FUA: WriteOptions = Object.freeze({ fua: false });
const MAY_UNMAP: WriteZeroesOptions = Object.freeze({ mayUnmap: true });
const NO_UNMAP: WriteZeroesOptions = Object.freeze({ mayUnmap: false });

/** Gets to know the faults of a backend. One serves all requests, so that they need no closures. */
export interface FaultReport {
  /** A request is answered with an error; it is named by the number that the caller has for it. */
  failed(request: number, text: string): void;
  /** The backend is not what it declares to be. */
  broken(text: string): void;
}

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
  // What is absent is not advertised, so nobody asks for any of this.
  throw new UblkError("SYSCALL_FAILED", {
    operation: `operation ${opFlags & 0xff}`,
    errno: EOPNOTSUPP,
  });
}

/**
 * The result for what a backend's method returned (or its Promise resolved to). Nothing is right;
 * a number is taken for a count of bytes, and one that is short is an error and not a result.
 */
export function resultOf(
  value: unknown,
  full: number,
  request: number,
  report: FaultReport,
): number {
  if (value === undefined || value === full) return full;
  const returned = typeof value === "number" ? value : typeof value;
  report.failed(request, `the backend returned ${returned} for ${full} bytes; answering EIO`);
  return -EIO;
}

/** The result for what a backend threw. */
export function resultOfThrown(thrown: unknown, request: number, report: FaultReport): number {
  const errno = errnoOf(thrown);
  report.failed(request, `${thrownText(thrown)}; answering errno ${errno}`);
  return -errno;
}

/**
 * The result for a Promise from a backend that declares `synchronous`: its thread blocks in the
 * kernel, where nothing would ever run the Promise's continuation.
 */
export function refusePromise(promise: PromiseLike<unknown>, report: FaultReport): number {
  report.broken("a backend that declares `synchronous` returned a Promise");
  // Were it to reject with nobody listening, the thread would end for that.
  promise.then(undefined, () => {});
  return -EIO;
}

/** What a backend's ring methods answer: bytes, or an errno that the block layer passes on. */
export function ringAnswer(answer: number): number {
  if (!Number.isInteger(answer)) return -EIO;
  return answer >= 0 ? answer : -clientErrno(-answer);
}
