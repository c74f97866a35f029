/**
 * Archives and members that are not as they were made.
 *
 * @module
 */

import { EIO } from "../../uapi/errno.ts";
import type { UblkError } from "../../uapi/error.ts";
import { refusal } from "../file_checks.ts";

/** A member is damaged, which no second look will change. Inside this room only. */
export class Damage extends Error {
  /** As the end of a sentence. */
  readonly reason: string;

  /** The reason is one of a few fixed sentences, since it is kept for each damaged member. */
  constructor(reason: string) {
    super(reason);
    this.reason = reason;
  }
}

/** The error of an archive, or a member of it, that is damaged. */
export function damaged(path: string, name: string | undefined, reason: string): UblkError {
  const operation = name === undefined ? path : `${name} in ${path}`;
  return refusal(operation, `it is damaged: ${reason}`, "get the archive again", EIO);
}
