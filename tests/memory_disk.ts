/**
 * Opens the `memory` backend as a single thread does, for tests.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import { memory, type MemoryOptions, open, share, unshare } from "../backends/memory.ts";
import { ringFiles } from "../uring/ring_files.ts";

/** A RAM disk that is unmapped when it is disposed of. */
export function openMemory(
  size: number | string,
  options: MemoryOptions = {},
): Backend & Disposable {
  const spec = memory(size, options);
  const shared = share(spec.options);
  const backend = open(spec.options, {
    queue: 0,
    shared,
    inner: [],
    ring: ringFiles(),
    recovering: false,
  });
  return { ...backend, [Symbol.dispose]: () => unshare(shared) };
}
