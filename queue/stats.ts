/**
 * The counters and latencies of one queue, in shared memory. The queue's thread writes, any thread
 * reads, and neither waits for the other.
 *
 * Every value is a double with one writer. That needs no atomic operations, because aligned doubles
 * are loaded and stored whole. A reader sees each single value correctly. Values may be a few I/Os
 * apart from each other: `reads` may be ahead of `bytesRead` by one.
 *
 * Latencies go to a histogram with four buckets per power of two, from 1 µs to 2^26 µs (67 s). A
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

/** A class of operations with its own latencies. */
export type OpClass = "read" | "write" | "other";

// Layout of the buffer, in doubles. Counters of requests and bytes are indexed by UBLK_IO_OP_*.
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

// Each class has its buckets, the sum in microseconds, and the maximum in microseconds.
const OCTAVES = 26;
/** The classes of operations, in the order of storage and display. */
export const OP_CLASSES: readonly OpClass[] = ["read", "write", "other"];

/** Buckets of one histogram: below 1 µs, four per octave, and 2^26 µs and above. */
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
  /** Number of requests measured. */
  readonly count: number;
  /** The mean latency; 0 without requests. */
  readonly meanUs: number;
  /** The median: half of the requests took no longer; 0 without requests. */
  readonly p50Us: number;
  /** The 90th percentile; 0 without requests. */
  readonly p90Us: number;
  /** The 99th percentile; 0 without requests. */
  readonly p99Us: number;
  /** The 99.9th percentile; 0 without requests. */
  readonly p999Us: number;
  /** The exact maximum; 0 without requests. */
  readonly maxUs: number;
  /** Requests per bucket, for {@linkcode sumStats}; see {@linkcode latencyBucketUs}. */
  readonly buckets: readonly number[];
}

/** Statistics of one queue, or of several together. */
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
  /** Requests answered of any other operation. */
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
  /** Requests not copied, because their data was in memory that clients share (`sharedMemory`). */
  readonly shared: number;
  /** Requests that the backend currently holds. */
  readonly inFlight: number;
  /** Turns of the loop that found requests. */
  readonly batches: number;
  /** The mean number of requests per batch; 0 without batches. */
  readonly meanBatch: number;
  /** The number of requests in the largest batch. */
  readonly maxBatch: number;
  /** Latencies by class of operation. */
  readonly latency: Readonly<Record<OpClass, LatencyStats>>;
}

/** Allocates the memory for one queue's statistics, all zero. */
export function createStatsBuffer(): SharedArrayBuffer {
  return new SharedArrayBuffer(TOTAL_DOUBLES * 8);
}

/**
 * Returns the bucket of a latency in microseconds. Allocates nothing.
 *
 * The latency is counted in quarters of a microsecond. From 1 µs (4 quarters) on, the two bits
 * below the leading one select one of four sub-buckets per octave.
 */
export function latencyBucket(us: number): number {
  if (us >= 2 ** OCTAVES) return LATENCY_BUCKETS - 1;
  const quarters = (us * 4) | 0;
  if (quarters < 4) return 0;
  const shift = 29 - Math.clz32(quarters);
  return 1 + shift * 4 + ((quarters >>> shift) & 3);
}

/** The exclusive upper bound of a bucket, in microseconds; `Infinity` for the last one. */
export function latencyBucketUs(bucket: number): number {
  if (bucket === 0) return 1;
  if (bucket >= LATENCY_BUCKETS - 1) return Infinity;
  const quarters = (bucket - 1) & 3;
  return 2 ** ((bucket - 1) >> 2) * (1 + (quarters + 1) / 4);
}

/** The writer of one queue's statistics. Its methods allocate nothing. */
export class QueueStats {
  readonly #doubles: Float64Array<SharedArrayBuffer>;

  /** Writes to a buffer of {@linkcode createStatsBuffer}, and keeps the values it has. */
  constructor(buffer: SharedArrayBuffer) {
    assert(buffer.byteLength === TOTAL_DOUBLES * 8, "the buffer is one of createStatsBuffer");
    this.#doubles = new Float64Array(buffer);
  }

  /** Counts an answered request of `UBLK_IO_OP_*`, and the bytes it moved. */
  count(op: number, bytes: number): void {
    this.#doubles[OP_COUNTS + (op & (OPS - 1))] += 1;
    this.#doubles[OP_BYTES + (op & (OPS - 1))] += bytes;
  }

  /** Counts several requests at once, and the 512-byte sectors that they moved in total. */
  countMany(op: number, requests: number, sectors: number): void {
    this.#doubles[OP_COUNTS + (op & (OPS - 1))] += requests;
    this.#doubles[OP_BYTES + (op & (OPS - 1))] += sectors * 512;
  }

  /** Reverts a {@linkcode count}. */
  uncount(op: number, bytes: number): void {
    this.#doubles[OP_COUNTS + (op & (OPS - 1))] -= 1;
    this.#doubles[OP_BYTES + (op & (OPS - 1))] -= bytes;
  }

  /** Records the latency of a request of `UBLK_IO_OP_*`, in microseconds. */
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

  /** Counts a request whose data was in memory shared with clients. */
  shared(): void {
    this.#doubles[SHARED] += 1;
  }

  /** Counts a turn of the loop that found `requests` requests. */
  batch(requests: number): void {
    const doubles = this.#doubles;
    doubles[BATCHES] += 1;
    doubles[BATCH_REQUESTS] += requests;
    if (requests > doubles[MAX_BATCH]) doubles[MAX_BATCH] = requests;
  }

  /** Requests that the backend currently holds. */
  get inFlight(): number {
    return this.#doubles[IN_FLIGHT];
  }

  /** Sets the number of requests that the backend holds. */
  set inFlight(requests: number) {
    this.#doubles[IN_FLIGHT] = requests;
  }
}

/** Takes a snapshot of one queue's statistics. Any thread may call it. */
export function readStats(buffer: SharedArrayBuffer): Stats {
  // Copy the doubles first, so that percentiles come from buckets that do not change.
  return statsOf(new Float64Array(buffer).slice());
}

/** Combines the statistics of several queues: sums, maxima and merged percentiles. */
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

/** Computes latencies from a histogram, their sum and their maximum, in microseconds. */
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

/** The upper bound of the bucket that holds the request of this rank, counted from 1. */
function percentileUs(buckets: readonly number[], rank: number, maxUs: number): number {
  let passed = 0;
  for (let bucket = 0; rank > 0 && bucket < buckets.length; bucket++) {
    passed += buckets[bucket];
    // The bucket's bound may exceed the maximum, but no request took longer than that.
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
