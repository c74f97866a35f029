/**
 * The rates of a device, or of one queue, between two readings of its counters.
 *
 * @module
 */

import { latencyBetween, notBelow } from "../../queue/intervals.ts";
import type { LatencyStats, OpClass, Stats } from "../../queue/stats.ts";
import type { ServerStats } from "../devices/socket.ts";

/** One class of operations. */
export interface OpRates {
  /** Requests per second. */
  readonly requests: number;
  /** Bytes per second. */
  readonly bytes: number;
  /** Latency of the measured requests. */
  readonly latency: LatencyStats;
}

/** The rates of all classes. */
export interface Rates {
  /** By class. */
  readonly ops: Readonly<Record<OpClass, OpRates>>;
  /** Requests answered with an errno, in the whole interval. */
  readonly errors: number;
}

/** The total requests and bytes of one class. */
export function opTotals(stats: Stats, op: OpClass): { requests: number; bytes: number } {
  switch (op) {
    case "read":
      return { requests: stats.reads, bytes: stats.bytesRead };
    case "write":
      return { requests: stats.writes, bytes: stats.bytesWritten };
    case "other":
      return {
        requests: stats.flushes + stats.discards + stats.writeZeroes + stats.others,
        bytes: stats.bytesDiscarded + stats.bytesZeroed,
      };
  }
}

/** The rates between two snapshots of the same counters that are `seconds` apart. */
export function ratesBetween(earlier: Stats, later: Stats, seconds: number): Rates {
  const latest = notBelow(earlier, later);
  const rates = (op: OpClass): OpRates => {
    const [before, after] = [opTotals(earlier, op), opTotals(latest, op)];
    return {
      requests: (after.requests - before.requests) / seconds,
      bytes: (after.bytes - before.bytes) / seconds,
      latency: latencyBetween(earlier.latency[op], latest.latency[op]),
    };
  };
  return {
    ops: { read: rates("read"), write: rates("write"), other: rates("other") },
    errors: latest.errors - earlier.errors,
  };
}

/**
 * The seconds between two answers of the same server; undefined if they come from two servers, or
 * from two devices that one process served in turn.
 */
export function secondsBetween(earlier: ServerStats, later: ServerStats): number | undefined {
  const seconds = (later.sampledMs - earlier.sampledMs) / 1000;
  const same = earlier.pid === later.pid && earlier.queues.length === later.queues.length &&
    earlier.total.batches <= later.total.batches;
  return same && seconds > 0 ? seconds : undefined;
}
