/**
 * Memory for engines.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { Mapping, pageAlign } from "../uring/mapping.ts";
import type { EngineMemory } from "./engine.ts";

/**
 * Maps memory for an engine's operations. It is zeroed, begins with a page, and takes room only where
 * it was written. Dispose of it once the kernel uses it no more: an operation without a
 * completion may still write there.
 *
 * @param bytes The number of bytes, more than 0.
 * @throws {UblkError} `INVALID_ARGUMENT` or `MEMORY_LIMIT`.
 */
export function engineMemory(bytes: number): EngineMemory & Disposable {
  if (!(Number.isSafeInteger(bytes) && bytes > 0)) {
    throw new UblkError("INVALID_ARGUMENT", {
      operation: "map memory for an engine",
      reason: `${bytes} is no number of bytes`,
      hint: "give a whole number above 0",
    });
  }
  const mapping = Mapping.anonymous(pageAlign(bytes));
  return {
    bytes: new Uint8Array(mapping.buffer(), 0, bytes),
    address: mapping.address,
    [Symbol.dispose]: () => mapping[Symbol.dispose](),
  };
}
