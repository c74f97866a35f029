/**
 * The extents of a file: its data and its holes, as its filesystem knows them.
 *
 * @module
 */

import type { Extent } from "../disk/backend.ts";
import { nextHole } from "../uring/file.ts";

/** The extent at a place of a file, of at most `length` bytes. Both are whole blocks. */
export function fileExtent(
  fd: number,
  blockSize: number,
  offset: number,
  length: number,
): Extent {
  const end = offset + length;
  for (let from = offset;;) {
    const hole = nextHole(fd, from, end);
    if (hole === undefined) return { length, isHole: false };
    // A block that is a hole only in part counts as data.
    const start = Math.ceil(hole.start / blockSize) * blockSize;
    const stop = Math.floor(hole.end / blockSize) * blockSize;
    if (start < stop) {
      return start > offset
        ? { length: start - offset, isHole: false }
        : { length: stop - offset, isHole: true };
    }
    from = hole.end;
  }
}
