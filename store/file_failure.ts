/**
 * The errors of a store in files, in the words of stores.
 *
 * @module
 */

import { errnoOfFile } from "../files/file_error.ts";
import {
  EACCES,
  EDQUOT,
  EIO,
  EISDIR,
  ELOOP,
  EMFILE,
  ENAMETOOLONG,
  ENFILE,
  ENOSPC,
  ENOTDIR,
  EPERM,
  EROFS,
  errnoName,
  errnoText,
} from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { printable, shortened } from "../uapi/printable.ts";
import { StoreError, type StoreFault } from "./store.ts";

/** The fault and the remedy of each errno that has its own. */
const FAULTS: Readonly<Record<number, readonly [StoreFault, string]>> = {
  [ENOSPC]: ["full", "make room on its filesystem"],
  [EDQUOT]: ["full", "make room, or have the quota raised"],
  [EACCES]: ["refused", "give this user the right to read and write the folder"],
  // Of link(2) it says that the filesystem has no hard links, as FAT.
  [EPERM]: ["refused", "give this user the right, on a filesystem that has hard links"],
  [EROFS]: ["refused", "mount its filesystem for writing"],
  [ENOTDIR]: ["refused", "an object has the name of a folder; give the object another"],
  [EISDIR]: ["refused", "a folder has the name of an object; give the object another"],
  [ELOOP]: ["refused", "remove the symbolic links that lead in a circle"],
  [ENAMETOOLONG]: ["refused", "give a folder with a shorter path"],
  [EMFILE]: ["unavailable", "raise the limit on open files (`ulimit -n`, LimitNOFILE=)"],
  [ENFILE]: ["unavailable", "the machine has too many files open (sysctl fs.file-max)"],
  [EIO]: ["unavailable", "look for the disk's errors in the kernel's log"],
};

/**
 * Makes the error of an operation on files.
 *
 * @param where The operation, the object and the store.
 * @returns A `StoreError`, or the same value if no file threw it.
 */
export function fileFailure(where: string, thrown: unknown): unknown {
  const errno = errnoOfFile(thrown);
  if (errno === undefined) return thrown;
  const [fault, remedy] = FAULTS[errno] ?? ["unavailable", "try again"];
  const call = thrown instanceof UblkError ? `${thrown.operation}: ` : "";
  const words = `${where}: ${call}${errnoName(errno)} (${errnoText(errno)}); ${remedy}`;
  return new StoreError(fault, printable(shortened(words, 2000)), { cause: thrown });
}

/** Does something that may fail, and only for a reason that a file has. @returns The failure. */
export function attempt(work: () => void): UblkError | undefined {
  try {
    work();
  } catch (error) {
    if (error instanceof UblkError && error.errno !== undefined) return error;
    throw error;
  }
}
