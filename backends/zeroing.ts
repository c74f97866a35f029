/**
 * The ways by which a range of a file comes to read as zeroes, as modes of `fallocate`, one after
 * the other: by calls that block (`file_bytes.ts`) or through the ring (`file_requests.ts`).
 *
 * @module
 */

import { EOPNOTSUPP } from "../uapi/errno.ts";
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE } from "../uring/file.ts";

/** Reads as zeroes; the space is given back. */
export const PUNCH: number = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;
/** Reads as zeroes; the space is kept. */
export const ZERO_RANGE: number = FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE;
/** Gets space, where it has none. */
export const ALLOCATE: number = FALLOC_FL_KEEP_SIZE;
/** No mode: all is done. */
export const DONE = -1;

/** The ways of one disk, which learns what its filesystem lacks. */
export class Zeroing {
  /** The filesystem turned out to have no `FALLOC_FL_ZERO_RANGE` (tmpfs has not). */
  #lacksZeroRange = false;

  /** The first mode. @param mayUnmap Whether the space may be given back. */
  first(mayUnmap: boolean): number {
    return mayUnmap || this.#lacksZeroRange ? PUNCH : ZERO_RANGE;
  }

  /** The mode that follows one which every file has had, or {@linkcode DONE}. */
  next(mode: number, mayUnmap: boolean): number {
    if (mode === ZERO_RANGE) return this.#lacksZeroRange ? PUNCH : DONE;
    // Space that was to be kept has been given back: it is taken again, so that later writes there
    // find it. Where that is not possible either, EOPNOTSUPP makes the kernel write zeroes itself.
    return mode === PUNCH && !mayUnmap ? ALLOCATE : DONE;
  }

  /** Whether a negative errno is no failure: there is another way, which {@linkcode next} gives. */
  forgives(mode: number, result: number): boolean {
    if (mode !== ZERO_RANGE || result !== -EOPNOTSUPP) return false;
    this.#lacksZeroRange = true;
    return true;
  }
}
