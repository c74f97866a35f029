/**
 * Detects whether stderr goes to systemd's journal, which records the time of each line itself.
 *
 * @module
 */

import { fileStatus } from "../../uring/file.ts";
import { readSmallFile } from "../../uring/libc.ts";

/** Whether the journal reads this process's stderr. */
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
 * Whether an environment, in the format of `/proc/PID/environ`, names a stream as the journal's.
 * Processes that write elsewhere inherit the variable too, so it identifies the stream:
 * `JOURNAL_STREAM=DEVICE:INODE` (systemd.exec(5)).
 *
 * @param identity `MAJOR:MINOR:INODE` of the stream.
 */
export function isJournal(environment: string, identity: () => string | undefined): boolean {
  const named = /(?:^|\0)JOURNAL_STREAM=(\d+):(\d+)(?:\0|$)/.exec(environment);
  if (named === null) return false;
  const [major, minor, inode] = (identity() ?? "").split(":").map(Number);
  // `makedev(3)`, simplified for sockets: the major number of their filesystem is 0.
  return Number(named[1]) === major * 256 + minor && Number(named[2]) === inode;
}
