/**
 * The errnos that the block layer passes to clients, from `blk_errors` in `block/blk-core.c` of
 * Linux 7.2.
 *
 * The driver turns a request's negative result into a block status with `errno_to_blk_status()`,
 * and the block layer turns that back into an errno for the client. Only an errno in this table
 * survives. Any other becomes EIO, and so does every error of a buffered read.
 *
 * @module
 */

import * as errno from "./errno_numbers.ts";

/** One row of the kernel's table. */
export interface BlkError {
  /** The block status, without `BLK_STS_`. */
  readonly status: string;
  /** The errno, positive. */
  readonly errno: number;
  /** The errno's name. */
  readonly name: string;
  /** The name of the status in the kernel's log. */
  readonly meaning: string;
  /** Whether a server may answer it. AGAIN and DM_REQUEUE are internal to the kernel. */
  readonly answerable: boolean;
}

function row(
  status: string,
  name: keyof typeof errno,
  meaning: string,
  answerable = true,
): BlkError {
  return { status, errno: errno[name], name, meaning, answerable };
}

/** The kernel's table, in its order, without OK. */
export const BLK_ERRORS: readonly BlkError[] = [
  row("NOTSUPP", "EOPNOTSUPP", "operation not supported"),
  row("TIMEOUT", "ETIMEDOUT", "timeout"),
  row("NOSPC", "ENOSPC", "critical space allocation"),
  row("TRANSPORT", "ENOLINK", "recoverable transport"),
  row("TARGET", "EREMOTEIO", "critical target"),
  row("RESV_CONFLICT", "EBADE", "reservation conflict"),
  row("MEDIUM", "ENODATA", "critical medium"),
  row("PROTECTION", "EILSEQ", "protection"),
  row("RESOURCE", "ENOMEM", "kernel resource"),
  row("DEV_RESOURCE", "EBUSY", "device resource"),
  // A client that did not ask for RWF_NOWAIT does not expect EAGAIN and may hang or loop.
  row("AGAIN", "EAGAIN", "nonblocking retry", false),
  row("OFFLINE", "ENODEV", "device offline"),
  // "device mapper special case, should not leak out"
  row("DM_REQUEUE", "EREMCHG", "dm internal retry", false),
  row("ZONE_OPEN_RESOURCE", "ETOOMANYREFS", "open zones exceeded"),
  row("ZONE_ACTIVE_RESOURCE", "EOVERFLOW", "active zones exceeded"),
  row("DURATION_LIMIT", "ETIME", "duration limit exceeded"),
  row("INVAL", "EINVAL", "invalid"),
  row("IOERR", "EIO", "I/O"),
];

const ANSWERABLE: ReadonlySet<number> = new Set(
  BLK_ERRORS.filter((error) => error.answerable).map((error) => error.errno),
);

/** Whether a server may answer this positive errno and a client sees it unchanged. */
export function isBlkErrno(errno: number): boolean {
  return ANSWERABLE.has(errno);
}
