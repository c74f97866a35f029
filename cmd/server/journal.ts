/**
 * Whether systemd's journal reads stderr: it has the time of each line itself.
 *
 * @module
 */

import { fileStatus } from "../../uring/file.ts";
import { readSmallFile } from "../../uring/libc.ts";

/** Whether it reads this process's stderr. */
export function writesToJournal(): boolean {
  try {
    return isJournal(
      readSmallFile("/proc/self/environ"),
      () => fileStatus("/proc/self/fd/2")?.identity,
    );
  } catch {
    return false;
  }
}

/**
 * Whether an environment, as `/proc/PID/environ` has it, names a stream as the journal's. The
 * variable is inherited also by what writes elsewhere, so it tells which stream it means:
 * `JOURNAL_STREAM=DEVICE:INODE` (systemd.exec(5)).
 *
 * @param identity `MAJOR:MINOR:INODE` of the stream.
 */
export function isJournal(environment: string, identity: () => string | undefined): boolean {
  const named = /(?:^|\0)JOURNAL_STREAM=(\d+):(\d+)(?:\0|$)/.exec(environment);
  if (named === null) return false;
  const [major, minor, inode] = (identity() ?? "").split(":").map(Number);
  // `makedev(3)`, as far as the numbers of sockets go: their filesystem's major is 0.
  return Number(named[1]) === major * 256 + minor && Number(named[2]) === inode;
}
