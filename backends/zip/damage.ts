/**
 * Errors of damaged archives and members.
 *
 * @module
 */

import { EIO } from "../../uapi/errno.ts";
import type { UblkError } from "../../uapi/error.ts";
import { refusal } from "../../disk/file_checks.ts";

/** Permanent damage of a member or directory. Thrown and caught in this room only. */
export class Damage extends Error {
  /** The reason, as a clause that completes a sentence. */
  readonly reason: string;

  /** The reason must be one of a few constants, because it is kept for each damaged member. */
  constructor(reason: string) {
    super(reason);
    this.reason = reason;
  }
}

/** The error for a damaged archive, or for a damaged member of it. */
export function damaged(path: string, name: string | undefined, reason: string): UblkError {
  const operation = name === undefined ? path : `${name} in ${path}`;
  return refusal(operation, `it is damaged: ${reason}`, "get the archive again", EIO);
}
