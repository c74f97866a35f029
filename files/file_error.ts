/**
 * The error of a file operation, the same for the kernel's files and those in memory.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";

/** Makes an error with an errno. Its message is one line: `fdatasync: EIO`. */
export function fileError(operation: string, errno: number): UblkError {
  return new UblkError("SYSCALL_FAILED", { operation, errno });
}

/** The errno of an error that a file threw; undefined for anything else. */
export function errnoOfFile(thrown: unknown): number | undefined {
  return thrown instanceof UblkError ? thrown.errno : undefined;
}
