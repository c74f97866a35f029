/**
 * The extents of a disk, in words.
 *
 * @module
 */

import type { DiskHost } from "../disk/host.ts";

/** Bytes of data and of holes in turn, such as `hole 4096`. */
export async function extentsOf(host: DiskHost): Promise<string[]> {
  const found: string[] = [];
  for (let at = 0; at < host.size;) {
    const extent = await host.extentAt(at, host.size - at);
    if (typeof extent === "number") throw new Error(`errno ${extent}`);
    found.push(`${extent.isHole ? "hole" : "data"} ${extent.length}`);
    at += extent.length;
  }
  return found;
}
