/**
 * The one total mapping from whatever a backend throws to the errno that the kernel gets.
 *
 * @module
 */

import { isBlkErrno } from "../uapi/blk_errors.ts";
import { EDQUOT, EIO, ENOSPC, errnoNumber, ETIMEDOUT } from "../uapi/errno.ts";

/**
 * The positive errno that a client gets for another one: itself, where the block layer passes it on.
 * Whatever that would turn into EIO is EIO here already.
 */
export function clientErrno(errno: number): number {
  if (isBlkErrno(errno)) return errno;
  // A client knows no quota of this server's: for it the disk is full.
  return errno === EDQUOT ? ENOSPC : EIO;
}

/**
 * The positive errno for a thrown value, as {@linkcode clientErrno} has it.
 *
 * - a `UblkError`, or any object with a numeric `errno`: that one;
 * - an error whose `code` is an errno's name, as Deno's and Node's are: that errno;
 * - a `TimeoutError` (as `AbortSignal.timeout` throws): ETIMEDOUT;
 * - all else: EIO.
 */
export function errnoOf(thrown: unknown): number {
  const errno = claimedErrno(thrown);
  return errno === undefined ? EIO : clientErrno(errno);
}

/** The positive errno that a thrown value has for itself, be it what it may; undefined without one. */
export function claimedErrno(thrown: unknown): number | undefined {
  try {
    return claimed(thrown);
  } catch {
    // A getter or a Proxy may throw in its turn, and this runs where nothing would catch that.
    return undefined;
  }
}

function claimed(thrown: unknown): number | undefined {
  if (typeof thrown !== "object" || thrown === null) return undefined;
  const error = thrown as { errno?: unknown; code?: unknown; name?: unknown };
  if (typeof error.errno === "number") return Math.abs(error.errno);
  if (typeof error.code === "string") return errnoNumber(error.code);
  if (error.name === "TimeoutError" || error.name === "TimedOut") return ETIMEDOUT;
  return undefined;
}
