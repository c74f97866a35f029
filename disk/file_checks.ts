/**
 * Checks of the options that all file-based disks share, and the error for an unusable file.
 *
 * @module
 */

import { BLOCK_SIZES } from "../uapi/block_sizes.ts";
import { invalidIn, type UblkError } from "../uapi/error.ts";
import { isPath } from "../uring/file.ts";

/** Makes the error for a wrong option. */
type Invalid = ReturnType<typeof invalidIn>;

/** Checks that a value can be a path. */
export function checkPath(path: unknown, invalid: Invalid): void {
  if (isPath(path)) return;
  throw invalid(`${JSON.stringify(path)} is not a path`, "give the path of a file");
}

/** Checks the size of a logical block. */
export function checkBlockSize(blockSize: number, invalid: Invalid): void {
  if (BLOCK_SIZES.includes(blockSize)) return;
  throw invalid(`block size ${blockSize} is not possible`, `use one of ${BLOCK_SIZES.join(", ")}`);
}

/** The error for a file that cannot be used: one line with path, cause and remedy. */
export function refusal(path: string, reason: string, hint: string, errno?: number): UblkError {
  return invalidIn(path)(reason, hint, { errno });
}
