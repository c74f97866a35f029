/**
 * A small RAM disk whose thread dies, or whose `close` throws or never ends.
 *
 * @module
 */

import type { Backend } from "../../disk/backend.ts";
import type { BackendSpec } from "../../disk/spec.ts";

/** The kind of failure. */
export type Failing = "dies" | "close throws" | "close hangs" | "open hangs";

/** The specification of such a backend. */
export function failing(how: Failing, perQueue = false): BackendSpec {
  const options = { how };
  return { module: import.meta.url, export: perQueue ? "perQueue" : "single", options };
}

/** The module with one thread for all queues. */
export const single = { open };
/** The module with one thread per queue, although they share nothing. */
export const perQueue = { sharing: "per-queue", open };

function open(options: unknown): Backend | Promise<Backend> {
  const { how } = options as { how: Failing };
  if (how === "open hangs") return new Promise(() => {});
  const bytes = new Uint8Array(4 << 20);
  return {
    size: bytes.length,
    readAt(buffer, offset) {
      // Not at the start of the disk, which partition scans read.
      if (how === "dies" && offset >= bytes.length / 2) {
        setTimeout(() => {
          throw new Error("died on purpose");
        });
        return new Promise(() => {});
      }
      buffer.set(bytes.subarray(offset, offset + buffer.length));
    },
    writeAt: (buffer, offset) => bytes.set(buffer, offset),
    close() {
      if (how === "close throws") throw new Error("close failed on purpose");
      if (how === "close hangs") return new Promise(() => {});
    },
  };
}

/** A backend that opens slowly, and counts its shares, unshares, opens and closes. */
export function slowToOpen(counts: Int32Array<SharedArrayBuffer>): BackendSpec {
  return { module: import.meta.url, export: "slow", options: counts };
}

/** The module of {@linkcode slowToOpen}. */
export const slow = {
  share: (options: unknown) => void Atomics.add(options as Int32Array, 0, 1),
  unshare: () => void Atomics.add(slowCounts!, 1, 1),
  async open(options: unknown): Promise<Backend> {
    slowCounts = options as Int32Array;
    await new Promise((resolve) => setTimeout(resolve, 2000));
    Atomics.add(slowCounts, 2, 1);
    const size = 1 << 20;
    return { size, readAt() {}, writeAt() {}, close: () => void Atomics.add(slowCounts!, 3, 1) };
  },
};
let slowCounts: Int32Array | undefined;
