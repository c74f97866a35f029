/**
 * Ranges of objects.
 *
 * @module
 */

import { assert } from "../uapi/error.ts";
import { type ByteRange, StoreError } from "./store.ts";

/**
 * Checks that the bytes of a range exist.
 *
 * @returns How many of them do: all, unless the object may end within the range.
 * @param where The operation, the object and the store, for the error.
 * @throws {StoreError} `corrupt`: who asks for a range has read somewhere that it exists.
 */
export function checkRange(range: ByteRange, size: number, where: string): number {
  const { offset, length, mayEnd = false } = range;
  assert(Number.isSafeInteger(offset) && offset >= 0, "a range begins within an object");
  assert(Number.isSafeInteger(length) && length > 0, "a range has bytes");
  if (offset + length <= size) return length;
  if (mayEnd && offset < size) return size - offset;
  throw new StoreError(
    "corrupt",
    `${where}: there are ${size} bytes, and ${length} from ${offset} on are asked for; ` +
      "the object was cut short, or is not the one that was put",
  );
}
