/**
 * Start-up: from spawning `ublk-null` to its first line, which says that the disk can be opened.
 * The depths are taken in turn, and each round begins with another one, so that none of them always
 * follows the same.
 *
 * @module
 */

import { startOwn } from "./disks.ts";
import type { StartRecord } from "./plan.ts";

/** Starts a disk of each depth `rounds` times. */
export async function measureStarts(
  depths: readonly number[],
  rounds: number,
  emit: (record: StartRecord) => void,
): Promise<void> {
  // The first start has files to read for the first time, and modules to cache.
  for (let round = -1; round < rounds; round++) {
    const first = Math.max(0, round) % depths.length;
    const order = [...depths.slice(first), ...depths.slice(0, first)];
    for (const depth of round < 0 ? depths.slice(0, 1) : order) {
      const startMs = performance.now();
      await using _disk = await startOwn("ublk-null", ["--depth", String(depth)]);
      const ms = performance.now() - startMs;
      if (round >= 0) emit({ type: "start", depth, ms });
    }
  }
}
