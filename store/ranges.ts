/**
 * Ranges of objects.
 *
 * @module
 */

import { assert } from "../uapi/error.ts";
import { type ByteRange, StoreError } from "./store.ts";

/**
 * Checks that all bytes of a range exist.
 *
 * @param where The operation, the object and the store, for the error.
 * @throws {StoreError} `corrupt`: who asks for a range has read somewhere that it exists.
 */
export function checkRange({ offset, length }: ByteRange, size: number, where: string): void {
  assert(Number.isSafeInteger(offset) && offset >= 0, "a range begins within an object");
  assert(Number.isSafeInteger(length) && length > 0, "a range has bytes");
  if (offset + length <= size) return;
  throw new StoreError(
    "corrupt",
    `${where}: there are ${size} bytes, and ${length} from ${offset} on are asked for; ` +
      "the object was cut short, or is not the one that was put",
  );
}
