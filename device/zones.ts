/**
 * What a device cannot have beside zones.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import type { Settings } from "./settings.ts";

/**
 * Checks the options of a device whose backend has zones.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` with one line about the first that does not go with them.
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

function invalid(reason: string, hint: string): UblkError {
  return new UblkError("INVALID_ARGUMENT", { operation: "serve", reason, hint });
}
