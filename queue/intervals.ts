/**
 * Two snapshots of the same counters, an earlier and a later one.
 *
 * @module
 */

import { latencyBucketUs, type LatencyStats, latencyStats, type Stats } from "./stats.ts";

/**
 * The latencies of what was measured between two snapshots: the percentiles are those of the
 * interval alone. Its longest is known no better than by its bucket.
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
 * The later snapshot, with no counter below the earlier one's. A thread counts a request that the
 * kernel is to answer by itself beforehand, and takes that back if it fails; whoever sums up rates
 * would take a counter that falls for one that began anew.
 */
export function notBelow(earlier: Stats, later: Stats): Stats {
  const raised = COUNTERS.map((name) => [name, Math.max(earlier[name], later[name])]);
  return { ...later, ...Object.fromEntries(raised) };
}
