/**
 * The error of an operation on files, the same for the kernel's and those in memory.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";

/** An error with the errno; its message is one line, `fdatasync: EIO`. */
export function fileError(operation: string, errno: number): UblkError {
  return new UblkError("SYSCALL_FAILED", { operation, errno });
}

/** The errno of what a file threw; undefined of anything else. */
export function errnoOfFile(thrown: unknown): number | undefined {
  return thrown instanceof UblkError ? thrown.errno : undefined;
}
