/**
 * Checks a limit of bandwidth for the collection of garbage.
 *
 * @module
 */

import { formatSize } from "../../disk/size.ts";
import { invalidIn } from "../../uapi/error.ts";

/** The least, in bytes per second: a chunk of the usual size must come within a minute. */
export const LEAST_GC_BANDWIDTH = 1 << 16;

/** Checks a limit in bytes per second; undefined for none. @throws {UblkError} `INVALID_ARGUMENT` */
export function checkedBandwidth(name: string, bytes: number | undefined): number | undefined {
  if (bytes === undefined || bytes >= LEAST_GC_BANDWIDTH) return bytes;
  throw invalidIn(`the collection of garbage of ${name}`)(
    `it cannot go on with ${bytes} bytes a second`,
    `give ${formatSize(LEAST_GC_BANDWIDTH)} or more`,
  );
}
