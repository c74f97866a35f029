/**
 * Checks that a server may open as many files as it needs. Deno panics if one of its own threads
 * runs out of descriptors, at any point, and a half-made device would be left.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { readSmallFile } from "../../uring/libc.ts";

/** A server with one thread needs 48, including its start; half of them are Deno's. */
const NEEDED = 64;

/**
 * Checks the limit on open files before anything is made.
 *
 * @throws {UblkError} `SYSCALL_FAILED` if it is too low.
 */
export function checkOpenFiles(): void {
  const limit = openFilesLimit(readSmallFile("/proc/self/limits"));
  if (limit >= NEEDED) return;
  throw new UblkError("SYSCALL_FAILED", {
    operation: "start the server",
    reason: `it may open ${limit} files, and needs ${NEEDED}`,
    hint: "raise the limit: `ulimit -n`, or LimitNOFILE= of a systemd unit",
  });
}

/** The current limit, from the text of `/proc/PID/limits`; Infinity if there is none. */
export function openFilesLimit(limits: string): number {
  const soft = /^Max open files +(\d+|unlimited) /m.exec(limits)?.[1];
  return soft === undefined || soft === "unlimited" ? Infinity : Number(soft);
}
