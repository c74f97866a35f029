/**
 * The outside of a volume besides its store and its files: time and randomness. Tests give
 * their own, so that one seed repeats a whole run.
 *
 * @module
 */

import { bootTimeUs } from "../uring/libc.ts";

/** Time and randomness. */
export interface Seam {
  /** Milliseconds since 1970. Only noted, never waited for. */
  now(): number;
  /** A monotonic clock in milliseconds, for waits. */
  clock(): number;
  /** A clock in milliseconds that counts while the machine is suspended, for leases. */
  elapsed(): number;
  /** 16 random bytes in hexadecimal digits, never zeroes only. */
  uuid(): string;
}

/** The machine's. */
export const MACHINE: Seam = {
  now: () => Date.now(),
  clock: () => performance.now(),
  elapsed: () => bootTimeUs() / 1000,
  uuid: () => crypto.getRandomValues(new Uint8Array(16)).toHex(),
};
