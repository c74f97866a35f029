/**
 * Comparison of two snapshots of the same counters, an earlier and a later one.
 *
 * @module
 */

import { latencyBucketUs, type LatencyStats, latencyStats, type Stats } from "./stats.ts";

/**
 * Computes the latencies of the interval between two snapshots. The percentiles are those of the
 * interval alone. Its maximum is only known to the precision of a bucket.
 */
export function latencyBetween(earlier: LatencyStats, later: LatencyStats): LatencyStats {
  const buckets = later.buckets.map((value, bucket) => value - earlier.buckets[bucket]);
  const sumUs = later.meanUs * later.count - earlier.meanUs * earlier.count;
  const last = buckets.findLastIndex((value) => value > 0);
  const maxUs = last < 0 ? 0 : Math.min(latencyBucketUs(last), later.maxUs);
  return latencyStats(buckets, sumUs, maxUs);
}

const COUNTERS = [
  "reads",
  "writes",
  "flushes",
  "discards",
  "writeZeroes",
  "others",
  "bytesRead",
  "bytesWritten",
  "bytesDiscarded",
  "bytesZeroed",
  "errors",
  "timeouts",
  "shared",
  "batches",
] as const satisfies readonly (keyof Stats)[];

/**
 * Returns the later snapshot, with every counter at least as high as in the earlier one. If the
 * kernel answers a request by itself, the thread counts it in advance, and takes that back on
 * failure. A program that computes rates would take a falling counter for a restart.
 */
export function notBelow(earlier: Stats, later: Stats): Stats {
  const raised = COUNTERS.map((name) => [name, Math.max(earlier[name], later[name])]);
  return { ...later, ...Object.fromEntries(raised) };
}
