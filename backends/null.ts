/**
 * A disk that keeps nothing: writes are thrown away and reads give zeroes. It measures what the
 * server itself costs.
 *
 * @module
 */

import type { Backend, Sharing } from "./backend.ts";
import { geometryOf, type GeometryOptions, type Size } from "./geometry.ts";
import type { BackendSpec } from "./spec.ts";

/** Nothing is shared, so each queue has its own. */
export const sharing: Sharing = "per-queue";

/** Options of {@linkcode nullDisk} beside the size. */
export type NullOptions = Omit<GeometryOptions, "size">;

/**
 * A disk of that size which keeps nothing.
 *
 * @param size Bytes, or a text such as `"250GiB"`.
 * @throws {RangeError} Where the size or block size is not one.
 */
export function nullDisk(size: Size, options: NullOptions = {}): BackendSpec {
  const geometry = geometryOf({ size, ...options });
  return { module: import.meta.url, options: geometry };
}

/** Opens it: the backend's module contract. */
export function open(options: unknown): Backend {
  return {
    ...geometryOf(options as GeometryOptions),
    synchronous: true,
    readAt(buffer) {
      // The buffer still holds what was last written through the same tag.
      buffer.fill(0);
    },
    writeAt() {},
    trim() {},
    writeZeroes() {},
  };
}
