/**
 * The table of what a volume does with its store: beside a bucket's own throughput, while snapshots are
 * made, and while it is overwritten.
 *
 * @module
 */

import { formatSpread, formatTable, spread } from "./table.ts";
import { measureBucket } from "./volume_bucket.ts";
import { measureMemory } from "./volume_memory.ts";
import { measureOverwrites } from "./volume_space.ts";
import { measureSnapshots } from "./volume_stalls.ts";

/** The amount of work to measure. */
export interface StorePlan {
  /** Samples beside the bucket. */
  readonly rounds: number;
  /** MiB of the volume in the bucket. */
  readonly mebibytes: number;
  /** Extents of the volumes of which snapshots are made. */
  readonly snapshotsOf: readonly number[];
  /** Snapshots of each. */
  readonly snapshots: number;
  /** Extents of the volume whose memory is measured, and the blocks that are written and read then. */
  readonly memory: { readonly extents: number; readonly count: number };
  /** MiB of the volume that is overwritten, ten times. */
  readonly overwritten: number;
}

/** How often as much as it has is written to the volume. */
const TIMES = 10;

/** Measures, and makes the table. The folder is on the disk to measure, the URL is the bucket's. */
export async function storeTable(plan: StorePlan, folder: string, url: string): Promise<string> {
  const rows: string[][] = [];
  const row = (measure: string, goal: string, figure: string, beside = "") =>
    rows.push([measure, goal, figure, beside]);
  const { reads, writes, amplification } = await measureBucket(
    ...[url, folder, plan.mebibytes, plan.rounds] as const,
  );
  row("cold sequential read : curl, 16 connections", "≥ 0.8", formatSpread(spread(reads)));
  row(
    "random 4 KiB writes × amplification : curl's PUTs, 4 connections",
    "≥ 0.8",
    formatSpread(spread(writes)),
    `amplification ${formatSpread(spread(amplification))}`,
  );
  for (const extents of plan.snapshotsOf) {
    const made = await measureSnapshots(folder, extents, plan.snapshots);
    const words = `of ${extents / 1e6} million extents, 32 MiB/s of writes`;
    row(`snapshot ${words}`, "≤ 50 ms", `${formatSpread(spread(made.snapshotMs), 0)} ms`);
    row(
      `longest write during snapshots ${words}`,
      "≤ 100 ms",
      `${made.longestMs.toFixed(0)} ms`,
      `${made.longestOtherwiseMs.toFixed(0)} ms without`,
    );
  }
  const { extents, count } = plan.memory;
  const bytes = await measureMemory(url, folder, extents, count);
  row(
    `memory of a server, ${extents / 1e6} million extents, 64 requests at a time`,
    "≤ 400 MB",
    `${(bytes / 1e6).toFixed(0)} MB`,
  );
  const over = await measureOverwrites(folder, plan.overwritten, TIMES);
  const of = `${TIMES} times ${plan.overwritten} MiB at random`;
  row(`bytes put into the store per byte, ${of}`, "≤ 1.6", over.amplification.toFixed(2));
  row("… of the chunks' bytes, those that only moved data", "", over.moved.toFixed(2));
  row("… stored per live byte, at most meanwhile", "", over.most.toFixed(2));
  const { settledSeconds } = over;
  const settled = settledSeconds === undefined ? "never" : `after ${settledSeconds.toFixed(1)} s`;
  row("… stored per live byte, by itself", "≤ 1.6", settled);
  row(
    "… and after `gc`",
    "≤ 1.2",
    over.after.toFixed(2),
    `gc took ${over.collectSeconds.toFixed(1)} s`,
  );
  return formatTable(["measure", "goal", "median (min–max)", "beside"], rows);
}
