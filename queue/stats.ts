/**
 * The counters and latencies of one queue, in shared memory: the queue's thread writes, anybody
 * reads, and neither waits for the other.
 *
 * All values are doubles with one writer each, which needs no atomic operation: an aligned double
 * is loaded and stored whole. A reader sees each value right and the values together as they were
 * within some I/Os of one another, so that `reads` may be ahead of `bytesRead` by one.
 *
 * Latencies go to a histogram with four buckets per power of two from 1 µs to 2^26 µs (67 s): a
 * percentile read from it is at most 25 % too high, and never too low.
 *
 * @module
 */

import { assert } from "../uapi/error.ts";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
  UBLK_IO_OP_ZONE_APPEND,
} from "../uapi/ublk_io.ts";

/** The classes of operations whose latencies are kept apart. */
export type OpClass = "read" | "write" | "other";

// The buffer, in doubles. The counters of requests and bytes are indexed by UBLK_IO_OP_*.
const OPS = 32;
const OP_COUNTS = 0;
const OP_BYTES = OPS;
const ERRORS = 2 * OPS;
const TIMEOUTS = ERRORS + 1;
const IN_FLIGHT = ERRORS + 2;
const BATCHES = ERRORS + 3;
const BATCH_REQUESTS = ERRORS + 4;
const MAX_BATCH = ERRORS + 5;
const SHARED = ERRORS + 6;
const HISTOGRAMS = ERRORS + 8;

// Of each class: the buckets, the sum in microseconds, the maximum in microseconds.
const OCTAVES = 26;
/** The classes of operations, in the order in which they are counted and shown. */
export const OP_CLASSES: readonly OpClass[] = ["read", "write", "other"];

/**
 * Buckets of one histogram: below 1 µs, four per octave, and 2^26 µs and above.
 */
export const LATENCY_BUCKETS: number = 1 + OCTAVES * 4 + 1;
const SUM_US = LATENCY_BUCKETS;
const MAX_US = LATENCY_BUCKETS + 1;
const CLASS_DOUBLES = LATENCY_BUCKETS + 2;
const TOTAL_DOUBLES = HISTOGRAMS + OP_CLASSES.length * CLASS_DOUBLES;

assert((OPS & (OPS - 1)) === 0, "the bits of an operation are taken by a mask");
assert(
  UBLK_IO_OP_ZONE_APPEND < OPS - 1,
  "every operation that is named has a counter, and the others",
);
assert(SHARED < HISTOGRAMS, "counters end where histograms begin");
assert(UBLK_IO_OP_READ === 0 && UBLK_IO_OP_WRITE === 1, "the first classes are numbered so");

/** Latencies of one class of operations. Times are in microseconds. */
export interface LatencyStats {
  /** Requests measured. */
  readonly count: number;
  /** The mean. */
  readonly meanUs: number;
  /** Half of the requests took no longer than this; 0 without any. */
  readonly p50Us: number;
  /** 90 % took no longer. */
  readonly p90Us: number;
  /** 99 % took no longer. */
  readonly p99Us: number;
  /** 99.9 % took no longer. */
  readonly p999Us: number;
  /** The longest, exactly. */
  readonly maxUs: number;
  /** Requests per bucket, for {@linkcode sumStats}; see {@linkcode latencyBucketUs}. */
  readonly buckets: readonly number[];
}

/** What one queue, or several together, have done. */
export interface Stats {
  /** READ requests answered. */
  readonly reads: number;
  /** WRITE requests answered. */
  readonly writes: number;
  /** FLUSH requests answered. */
  readonly flushes: number;
  /** DISCARD requests answered. */
  readonly discards: number;
  /** WRITE_ZEROES requests answered. */
  readonly writeZeroes: number;
  /** ZONE_APPEND requests answered. */
  readonly zoneAppends: number;
  /** Requests of any other operation. */
  readonly others: number;
  /** Bytes read. */
  readonly bytesRead: number;
  /** Bytes written. */
  readonly bytesWritten: number;
  /** Bytes discarded. */
  readonly bytesDiscarded: number;
  /** Bytes zeroed by WRITE_ZEROES. */
  readonly bytesZeroed: number;
  /** Bytes appended to zones. */
  readonly bytesAppended: number;
  /** Requests answered with an errno. */
  readonly errors: number;
  /** Requests whose deadline passed. */
  readonly timeouts: number;
  /** Requests whose data was in memory that clients share (`sharedMemory`), and was not copied. */
  readonly shared: number;
  /** Requests that the backend holds at this moment. */
  readonly inFlight: number;
  /** Rounds of the loop that found requests. */
  readonly batches: number;
  /** Requests per batch, the mean; 0 without any. */
  readonly meanBatch: number;
  /** Requests of the largest batch. */
  readonly maxBatch: number;
  /** Latencies by class of operation. */
  readonly latency: Readonly<Record<OpClass, LatencyStats>>;
}

/** Makes the memory for one queue's statistics, all zero. */
export function createStatsBuffer(): SharedArrayBuffer {
  return new SharedArrayBuffer(TOTAL_DOUBLES * 8);
}

/**
 * The bucket of a latency in microseconds. Allocates nothing.
 *
 * In quarters of a microsecond, four sub-buckets per octave are the two bits below the leading
 * one, from 1 µs = 4 quarters on.
 */
export function latencyBucket(us: number): number {
  if (us >= 2 ** OCTAVES) return LATENCY_BUCKETS - 1;
  const quarters = (us * 4) | 0;
  if (quarters < 4) return 0;
  const shift = 29 - Math.clz32(quarters);
  return 1 + shift * 4 + ((quarters >>> shift) & 3);
}

/** The upper bound (exclusive) of a bucket, in microseconds; `Infinity` for the last. */
export function latencyBucketUs(bucket: number): number {
  if (bucket === 0) return 1;
  if (bucket >= LATENCY_BUCKETS - 1) return Infinity;
  const quarters = (bucket - 1) & 3;
  return 2 ** ((bucket - 1) >> 2) * (1 + (quarters + 1) / 4);
}

/** The writer of one queue's statistics. Its methods allocate nothing. */
export class QueueStats {
  readonly #doubles: Float64Array<SharedArrayBuffer>;

  /** Writes to a buffer of {@linkcode createStatsBuffer}, continuing what it holds. */
  constructor(buffer: SharedArrayBuffer) {
    assert(buffer.byteLength === TOTAL_DOUBLES * 8, "the buffer is one of createStatsBuffer");
    this.#doubles = new Float64Array(buffer);
  }

  /** Counts an answered request of `UBLK_IO_OP_*`, and the bytes it moved. */
  count(op: number, bytes: number): void {
    this.#doubles[OP_COUNTS + (op & (OPS - 1))] += 1;
    this.#doubles[OP_BYTES + (op & (OPS - 1))] += bytes;
  }

  /** {@linkcode count}s several requests, and the sectors of 512 bytes that they moved together. */
  countMany(op: number, requests: number, sectors: number): void {
    this.#doubles[OP_COUNTS + (op & (OPS - 1))] += requests;
    this.#doubles[OP_BYTES + (op & (OPS - 1))] += sectors * 512;
  }

  /** Takes back a {@linkcode count}. */
  uncount(op: number, bytes: number): void {
    this.#doubles[OP_COUNTS + (op & (OPS - 1))] -= 1;
    this.#doubles[OP_BYTES + (op & (OPS - 1))] -= bytes;
  }

  /** Records how long a request of `UBLK_IO_OP_*` took, in microseconds. */
  latency(op: number, us: number): void {
    const doubles = this.#doubles;
    const at = HISTOGRAMS + CLASS_DOUBLES * (op > UBLK_IO_OP_WRITE ? 2 : op);
    doubles[at + latencyBucket(us)] += 1;
    doubles[at + SUM_US] += us;
    if (us > doubles[at + MAX_US]) doubles[at + MAX_US] = us;
  }

  /** Counts a request answered with an errno. */
  error(): void {
    this.#doubles[ERRORS] += 1;
  }

  /** Counts a request whose deadline passed. */
  timeout(): void {
    this.#doubles[TIMEOUTS] += 1;
  }

  /** Counts a request whose data was in memory that clients share. */
  shared(): void {
    this.#doubles[SHARED] += 1;
  }

  /** Counts a round of the loop that found `requests` requests. */
  batch(requests: number): void {
    const doubles = this.#doubles;
    doubles[BATCHES] += 1;
    doubles[BATCH_REQUESTS] += requests;
    if (requests > doubles[MAX_BATCH]) doubles[MAX_BATCH] = requests;
  }

  /** Requests that the backend holds at this moment. */
  get inFlight(): number {
    return this.#doubles[IN_FLIGHT];
  }

  /** Sets it. */
  set inFlight(requests: number) {
    this.#doubles[IN_FLIGHT] = requests;
  }
}

/** A snapshot of one queue's statistics, from any thread. */
export function readStats(buffer: SharedArrayBuffer): Stats {
  // The doubles are copied first, so that a percentile is taken from buckets that stand still.
  return statsOf(new Float64Array(buffer).slice());
}

/** The statistics of several queues together: their sums, maxima and merged percentiles. */
export function sumStats(list: readonly Stats[]): Stats {
  const doubles = new Float64Array(TOTAL_DOUBLES);
  for (const stats of list) addTo(doubles, stats);
  return statsOf(doubles);
}

function statsOf(doubles: Float64Array): Stats {
  let requests = 0;
  for (let op = 0; op < OPS; op++) requests += doubles[OP_COUNTS + op];
  const count = (op: number) => doubles[OP_COUNTS + op];
  const named = {
    reads: count(UBLK_IO_OP_READ),
    writes: count(UBLK_IO_OP_WRITE),
    flushes: count(UBLK_IO_OP_FLUSH),
    discards: count(UBLK_IO_OP_DISCARD),
    writeZeroes: count(UBLK_IO_OP_WRITE_ZEROES),
    zoneAppends: count(UBLK_IO_OP_ZONE_APPEND),
  };
  const batches = doubles[BATCHES];
  return {
    ...named,
    others: Object.values(named).reduce((rest, value) => rest - value, requests),
    bytesRead: doubles[OP_BYTES + UBLK_IO_OP_READ],
    bytesWritten: doubles[OP_BYTES + UBLK_IO_OP_WRITE],
    bytesDiscarded: doubles[OP_BYTES + UBLK_IO_OP_DISCARD],
    bytesZeroed: doubles[OP_BYTES + UBLK_IO_OP_WRITE_ZEROES],
    bytesAppended: doubles[OP_BYTES + UBLK_IO_OP_ZONE_APPEND],
    errors: doubles[ERRORS],
    timeouts: doubles[TIMEOUTS],
    shared: doubles[SHARED],
    inFlight: doubles[IN_FLIGHT],
    batches,
    meanBatch: batches === 0 ? 0 : doubles[BATCH_REQUESTS] / batches,
    maxBatch: doubles[MAX_BATCH],
    latency: {
      read: latencyOf(doubles, 0),
      write: latencyOf(doubles, 1),
      other: latencyOf(doubles, 2),
    },
  };
}

function latencyOf(doubles: Float64Array, classIndex: number): LatencyStats {
  const at = HISTOGRAMS + CLASS_DOUBLES * classIndex;
  const buckets = Array.from(doubles.subarray(at, at + LATENCY_BUCKETS));
  return latencyStats(buckets, doubles[at + SUM_US], doubles[at + MAX_US]);
}

/** What a histogram, the sum of its latencies and the longest come to, in microseconds. */
export function latencyStats(
  buckets: readonly number[],
  sumUs: number,
  maxUs: number,
): LatencyStats {
  const count = buckets.reduce((sum, value) => sum + value, 0);
  const percentile = (part: number) => percentileUs(buckets, Math.ceil(part * count), maxUs);
  return {
    count,
    meanUs: count === 0 ? 0 : sumUs / count,
    p50Us: percentile(0.5),
    p90Us: percentile(0.9),
    p99Us: percentile(0.99),
    p999Us: percentile(0.999),
    maxUs,
    buckets,
  };
}

/** The upper bound of the bucket of the request with this rank, counted from 1. */
function percentileUs(buckets: readonly number[], rank: number, maxUs: number): number {
  let passed = 0;
  for (let bucket = 0; rank > 0 && bucket < buckets.length; bucket++) {
    passed += buckets[bucket];
    // No request took longer than the longest, whatever its bucket's bound.
    if (passed >= rank) return Math.min(latencyBucketUs(bucket), maxUs);
  }
  return 0;
}

function addTo(doubles: Float64Array, stats: Stats): void {
  const op = (code: number, requests: number, bytes: number) => {
    doubles[OP_COUNTS + code] += requests;
    doubles[OP_BYTES + code] += bytes;
  };
  op(UBLK_IO_OP_READ, stats.reads, stats.bytesRead);
  op(UBLK_IO_OP_WRITE, stats.writes, stats.bytesWritten);
  op(UBLK_IO_OP_FLUSH, stats.flushes, 0);
  op(UBLK_IO_OP_DISCARD, stats.discards, stats.bytesDiscarded);
  op(UBLK_IO_OP_WRITE_ZEROES, stats.writeZeroes, stats.bytesZeroed);
  op(UBLK_IO_OP_ZONE_APPEND, stats.zoneAppends, stats.bytesAppended);
  op(OPS - 1, stats.others, 0);
  doubles[ERRORS] += stats.errors;
  doubles[TIMEOUTS] += stats.timeouts;
  doubles[SHARED] += stats.shared;
  doubles[IN_FLIGHT] += stats.inFlight;
  doubles[BATCHES] += stats.batches;
  doubles[BATCH_REQUESTS] += stats.meanBatch * stats.batches;
  doubles[MAX_BATCH] = Math.max(doubles[MAX_BATCH], stats.maxBatch);
  OP_CLASSES.forEach((name, index) => {
    const at = HISTOGRAMS + CLASS_DOUBLES * index;
    const { buckets, count, meanUs, maxUs } = stats.latency[name];
    buckets.forEach((value, bucket) => doubles[at + bucket] += value);
    doubles[at + SUM_US] += meanUs * count;
    doubles[at + MAX_US] = Math.max(doubles[at + MAX_US], maxUs);
  });
}
