/**
 * Detects whether stderr goes to systemd's journal, which records the time of each line itself.
 *
 * @module
 */

import { fileStatus } from "../../uring/file.ts";
import { environmentVariable } from "../../uring/libc.ts";

/** Whether the journal reads this process's stderr. */
export function writesToJournal(): boolean {
  try {
    const stream = environmentVariable("JOURNAL_STREAM");
    return isJournal(stream, () => fileStatus("/proc/self/fd/2")?.identity);
  } catch {
    return false;
  }
}

/**
 * Whether `JOURNAL_STREAM` names a stream as the journal's. Processes that write elsewhere inherit the
 * variable too, so it identifies the stream: `DEVICE:INODE` (systemd.exec(5)).
 *
 * @param variable The variable's value; undefined if it is not set.
 * @param identity `MAJOR:MINOR:INODE` of the stream.
 */
export function isJournal(
  variable: string | undefined,
  identity: () => string | undefined,
): boolean {
  const named = /^(\d+):(\d+)$/.exec(variable ?? "");
  if (named === null) return false;
  const [major, minor, inode] = (identity() ?? "").split(":").map(Number);
  // `makedev(3)`, simplified for sockets: the major number of their filesystem is 0.
  return Number(named[1]) === major * 256 + minor && Number(named[2]) === inode;
}
