/**
 * The total mapping from any value that a backend throws to the errno that the kernel receives.
 *
 * @module
 */

import { isBlkErrno } from "../uapi/blk_errors.ts";
import { EDQUOT, EIO, ENOSPC, errnoNumber, ETIMEDOUT } from "../uapi/errno.ts";

/**
 * Maps a positive errno to the one that a client receives. An errno that the block layer passes on
 * stays as it is; all others become EIO here, as they would there.
 */
export function clientErrno(errno: number): number {
  if (isBlkErrno(errno)) return errno;
  // The client knows nothing of a quota on the server. To it, the disk is full.
  return errno === EDQUOT ? ENOSPC : EIO;
}

/**
 * Maps a thrown value to a positive errno, limited to those of {@linkcode clientErrno}.
 *
 * - a `UblkError`, or any object with a numeric `errno`: that errno;
 * - an error whose `code` is the name of an errno, as Deno's and Node's are: that errno;
 * - a `TimeoutError` (as `AbortSignal.timeout` throws): ETIMEDOUT;
 * - anything else: EIO.
 */
export function errnoOf(thrown: unknown): number {
  const errno = claimedErrno(thrown);
  return errno === undefined ? EIO : clientErrno(errno);
}

/** The positive errno that a thrown value itself carries; undefined if it carries none. */
export function claimedErrno(thrown: unknown): number | undefined {
  try {
    return claimed(thrown);
  } catch {
    // A getter or a Proxy may throw as well, and no caller would catch that.
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
