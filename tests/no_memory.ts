/**
 * Simulates a process without free memory, for tests of code that must work all the same.
 *
 * @module
 */

import { ENOMEM } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { Mapping } from "../uring/mapping.ts";

/** Calls `run` while anonymous mappings fail, except for the first `spared`. */
export function withoutMemory(run: () => void, spared = 0): void {
  const { anonymous } = Mapping;
  let remaining = spared;
  Mapping.anonymous = (bytes) => {
    if (remaining-- > 0) return anonymous.call(Mapping, bytes);
    throw new UblkError("MEMORY_LIMIT", { operation: `mmap ${bytes}`, errno: ENOMEM });
  };
  try {
    run();
  } finally {
    Mapping.anonymous = anonymous;
  }
}
