/**
 * Measures start-up: the time from spawning `ublk-null` to its first line, which reports that the disk
 * can be opened. The depths are taken in turn, and each round starts with another one, so that no
 * depth always follows the same one.
 *
 * @module
 */

import { startOurs } from "./disks.ts";
import type { StartRecord } from "./plan.ts";

/** Measures `rounds` starts of a disk of each depth. */
export async function measureStarts(
  depths: readonly number[],
  rounds: number,
  emit: (record: StartRecord) => void,
): Promise<void> {
  // The first start reads files for the first time, and caches modules.
  for (let round = -1; round < rounds; round++) {
    const first = Math.max(0, round) % depths.length;
    const order = [...depths.slice(first), ...depths.slice(0, first)];
    for (const depth of round < 0 ? depths.slice(0, 1) : order) {
      const startMs = performance.now();
      await using _disk = await startOurs("ublk-null", ["--depth", String(depth)]);
      const ms = performance.now() - startMs;
      if (round >= 0) emit({ type: "start", depth, ms });
    }
  }
}
