/**
 * Calls the backend's method for one request, and turns the outcome into a result: a number of
 * bytes, or a negative errno that a block device may answer.
 *
 * This runs for every request, so it allocates nothing.
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

// V8 inlines constants of this module. It loads and checks an imported one on each use.
const READ = UBLK_IO_OP_READ;
const IS_FUA = UBLK_IO_F_FUA;

// Made once: a new options object per request would be garbage.
/** The options of a write that must be durable before it is answered. */
export const FUA: WriteOptions = Object.freeze({ fua: true });
/** The options of any other write. */
export const NO_FUA: WriteOptions = Object.freeze({ fua: false });
const MAY_UNMAP: WriteZeroesOptions = Object.freeze({ mayUnmap: true });
const NO_UNMAP: WriteZeroesOptions = Object.freeze({ mayUnmap: false });

/** Receiver of a backend's faults. One object serves all requests, so they need no closures. */
export interface FaultReport {
  /** A request is answered with an error. `request` is the caller's number for it. */
  failed(request: number, text: string): void;
  /** The backend breaks a promise that it declares. */
  broken(text: string): void;
}

/** The write options for a request's `op_flags`. */
export function writeOptions(opFlags: number): WriteOptions {
  return (opFlags & IS_FUA) === 0 ? NO_FUA : FUA;
}

/** Calls `readAt` or `writeAt`. Returns or throws whatever the backend does. */
export function transfer(
  backend: Backend,
  opFlags: number,
  buffer: Uint8Array<ArrayBuffer>,
  offset: number,
): unknown {
  if ((opFlags & 0xff) === READ) return backend.readAt(buffer, offset);
  return backend.writeAt(buffer, offset, writeOptions(opFlags));
}

/** Calls the method for an operation without data. */
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
  // Absent methods are not advertised, so no request should get here.
  throw new UblkError("SYSCALL_FAILED", {
    operation: `operation ${opFlags & 0xff}`,
    errno: EOPNOTSUPP,
  });
}

/**
 * The result for a value that a backend's method returned, or that its Promise resolved to. The
 * right value is undefined. A number is taken as a count of bytes; a short count is an error.
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

/** The result for a value that a backend threw. */
export function resultOfThrown(thrown: unknown, request: number, report: FaultReport): number {
  const errno = errnoOf(thrown);
  report.failed(request, `${thrownText(thrown)}; answering errno ${errno}`);
  return -errno;
}

/**
 * The result for a Promise from a backend that declares `synchronous`. Its thread blocks in the
 * kernel, so the Promise's continuation would never run.
 */
export function refusePromise(promise: PromiseLike<unknown>, report: FaultReport): number {
  report.broken("a backend that declares `synchronous` returned a Promise");
  // An unhandled rejection would end the thread.
  promise.then(undefined, () => {});
  return -EIO;
}

/** The result for an answer of a backend's ring methods: bytes, or a negative client errno. */
export function ringAnswer(answer: number): number {
  if (!Number.isInteger(answer)) return -EIO;
  return answer >= 0 ? answer : -clientErrno(-answer);
}
