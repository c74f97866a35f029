/**
 * The ways to make a range of a file read as zeroes, as modes of `fallocate` to try in turn, by
 * blocking calls (`file_bytes.ts`) or through the ring (`file_requests.ts`).
 *
 * @module
 */

import { EOPNOTSUPP } from "../uapi/errno.ts";
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE } from "../uring/file.ts";

/** Makes the range read as zeroes and frees its space. */
export const PUNCH: number = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;
/** Makes the range read as zeroes and keeps its space. */
export const ZERO_RANGE: number = FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE;
/** Allocates space for holes in the range. */
export const ALLOCATE: number = FALLOC_FL_KEEP_SIZE;
/** Not a mode: no step is left. */
export const DONE = -1;

/** The modes for one disk. It learns which modes its filesystem lacks. */
export class Zeroing {
  /** The filesystem turned out to lack `FALLOC_FL_ZERO_RANGE`, as tmpfs does. */
  #lacksZeroRange = false;

  /** The first mode. @param mayUnmap Whether the space may be given back. */
  first(mayUnmap: boolean): number {
    return mayUnmap || this.#lacksZeroRange ? PUNCH : ZERO_RANGE;
  }

  /** The mode after one that is done for every file, or {@linkcode DONE}. */
  next(mode: number, mayUnmap: boolean): number {
    if (mode === ZERO_RANGE) return this.#lacksZeroRange ? PUNCH : DONE;
    // The punch freed space that should be kept. Allocate it again, so that later writes find it. If
    // that is not possible either, EOPNOTSUPP makes the kernel write zeroes itself.
    return mode === PUNCH && !mayUnmap ? ALLOCATE : DONE;
  }

  /** Whether a negative errno is no failure, because {@linkcode next} returns another mode. */
  forgives(mode: number, result: number): boolean {
    if (mode !== ZERO_RANGE || result !== -EOPNOTSUPP) return false;
    this.#lacksZeroRange = true;
    return true;
  }
}
