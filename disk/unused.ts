/**
 * The methods of a backend that works through the ring. They are never called: that they are there
 * says what it can do.
 *
 * @module
 */

import { fail } from "../uapi/error.ts";
import type { Backend } from "./backend.ts";

function unused(): never {
  fail("the ring serves this backend");
}

/** What such a backend can do beside reading and writing. */
export interface RingAbilities {
  /** Writes may be lost until a FLUSH, which it answers. */
  readonly flush?: boolean;
  /** It answers DISCARD and WRITE_ZEROES. */
  readonly trim?: boolean;
}

/** The part of such a backend that is the same for all. */
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
