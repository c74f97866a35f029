/**
 * A small RAM disk whose thread dies, or whose `close` throws or never ends.
 *
 * @module
 */

import type { Backend } from "../../disk/backend.ts";
import type { BackendSpec } from "../../disk/spec.ts";

/** How it fails. */
export type Failing = "dies" | "close throws" | "close hangs" | "open hangs";

/** Such a backend. */
export function failing(how: Failing, perQueue = false): BackendSpec {
  const options = { how };
  return { module: import.meta.url, export: perQueue ? "perQueue" : "single", options };
}

/** State in one heap. */
export const single = { open };
/** As if threads shared it. */
export const perQueue = { sharing: "per-queue", open };

function open(options: unknown): Backend | Promise<Backend> {
  const { how } = options as { how: Failing };
  if (how === "open hangs") return new Promise(() => {});
  const bytes = new Uint8Array(4 << 20);
  return {
    size: bytes.length,
    readAt(buffer, offset) {
      // The start of the disk is read by whoever looks for partitions.
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

/** A backend that takes a while to open, and counts: shares, unshares, opens, closes. */
export function slowToOpen(counts: Int32Array<SharedArrayBuffer>): BackendSpec {
  return { module: import.meta.url, export: "slow", options: counts };
}

/** See {@linkcode slowToOpen}. */
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
