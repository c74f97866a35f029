/**
 * A process that gets no more memory, for the tests of what goes on all the same.
 *
 * @module
 */

import { ENOMEM } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { Mapping } from "../uring/mapping.ts";

/** Runs something while, but for `spared` of them, no anonymous mapping can be had. */
export function withoutMemory(run: () => void, spared = 0): void {
  const { anonymous } = Mapping;
  let left = spared;
  Mapping.anonymous = (bytes) => {
    if (left-- > 0) return anonymous.call(Mapping, bytes);
    throw new UblkError("MEMORY_LIMIT", { operation: `mmap ${bytes}`, errno: ENOMEM });
  };
  try {
    run();
  } finally {
    Mapping.anonymous = anonymous;
  }
}
