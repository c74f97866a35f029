/**
 * Placeholder methods for a backend that works through the ring. They are never called; their
 * presence declares the backend's abilities.
 *
 * @module
 */

import { fail } from "../uapi/error.ts";
import type { Backend } from "./backend.ts";

function unused(): never {
  fail("the ring serves this backend");
}

/** The abilities of such a backend besides reading and writing. */
export interface RingAbilities {
  /** The backend answers FLUSH. Writes may be lost until then. */
  readonly flush?: boolean;
  /** The backend answers DISCARD and WRITE_ZEROES. */
  readonly trim?: boolean;
}

/** The common part of all such backends. */
export function servedByRing(
  { flush, trim }: RingAbilities,
): Pick<Backend, "synchronous" | "readAt" | "writeAt" | "flush" | "trim" | "writeZeroes"> {
  return {
    synchronous: true,
    readAt: unused,
    writeAt: unused,
    ...(flush ? { flush: unused } : {}),
    ...(trim ? { trim: unused, writeZeroes: unused } : {}),
  };
}
