/**
 * The one-line error about data that a cache could not write when it was closed.
 *
 * @module
 */

import { EIO } from "../../uapi/errno.ts";
import { thrownText, UblkError } from "../../uapi/error.ts";
import { formatSize } from "../../disk/size.ts";
import type { Bytes, Refused } from "./write_back.ts";

/** The number of ranges that the message names. */
const NAMED = 16;

/** The error for dirty data that the inner disk refused at the end. */
export function lossError({ error, ranges }: Refused): UblkError {
  const joined = join(ranges);
  const bytes = ranges.reduce((sum, { from, to }) => sum + to - from, 0);
  const names = joined.slice(0, NAMED).map(({ from, to }) => `${from}-${to}`).join(", ");
  const more = joined.length > NAMED ? `, and ${joined.length - NAMED} ranges more` : "";
  const why = thrownText(error).split("\n")[0];
  return new UblkError("SYSCALL_FAILED", {
    operation: "wrapper cache",
    reason: `${formatSize(bytes)} could not be written back and are lost: ` +
      `bytes ${names}${more} (${why})`,
    hint: "all else is written; restore these ranges from a copy",
    errno: EIO,
    cause: error,
  });
}

/** Ranges in order, with adjacent ones merged. */
function join(ranges: readonly Bytes[]): Bytes[] {
  const joined: Bytes[] = [];
  for (const range of ranges) {
    const last = joined.at(-1);
    if (last?.to === range.from) joined[joined.length - 1] = { from: last.from, to: range.to };
    else joined.push(range);
  }
  return joined;
}
