/**
 * The extents of a volume in bytes, from its maps.
 *
 * @module
 */

import type { Extent } from "../disk/backend.ts";
import type { Maps } from "./maps.ts";

/** The extent at a place of a volume, of at most `length` bytes. */
export function extentOf(
  maps: Pick<Maps, "extentAt">,
  blockSize: number,
  offset: number,
  length: number,
): Extent {
  const { blocks, isHole } = maps.extentAt(offset / blockSize, length / blockSize);
  return { length: blocks * blockSize, isHole };
}
