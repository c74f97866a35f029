/**
 * Options that a zoned device excludes.
 *
 * @module
 */

import { invalidIn } from "../uapi/error.ts";
import type { Settings } from "./settings.ts";

const invalid = invalidIn("serve");

/**
 * Checks the options of a device whose backend has zones.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` with one line about the first conflict.
 */
export function checkBesideZones({ recovery, integrity, sharedMemory }: Settings): void {
  if (recovery !== undefined) {
    throw invalid(
      "a zoned disk cannot be recovered: the kernel relies on write pointers that a new server " +
        "does not know",
      "leave recovery out",
    );
  }
  if (integrity !== undefined) {
    throw invalid("a zoned disk has no integrity metadata", "leave integrity out");
  }
  if (sharedMemory !== undefined) {
    throw invalid("a zoned disk shares no memory with its clients", "leave sharedMemory out");
  }
}
