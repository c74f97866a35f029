import { assert, assertAlmostEquals, assertEquals, assertLessOrEqual } from "@std/assert";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_REPORT_ZONES,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
  UBLK_IO_OP_ZONE_APPEND,
} from "../uapi/ublk_io.ts";
import {
  createStatsBuffer,
  LATENCY_BUCKETS,
  latencyBucket,
  latencyBucketUs,
  QueueStats,
  readStats,
  sumStats,
} from "./stats.ts";

Deno.test("latencyBucket puts each bound into the bucket above it", () => {
  assertEquals(latencyBucket(0), 0);
  assertEquals(latencyBucket(0.999), 0);
  assertEquals(latencyBucket(-1), 0);
  for (let bucket = 0; bucket < LATENCY_BUCKETS - 1; bucket++) {
    const bound = latencyBucketUs(bucket);
    assertEquals(latencyBucket(bound), bucket + 1, `at ${bound} µs`);
    // The lowest buckets have a resolution of a quarter of a microsecond.
    assertEquals(latencyBucket(bound - 0.001), bucket, `just below ${bound} µs`);
  }
  for (const us of [2 ** 26, 2 ** 29, 2 ** 40, Infinity]) {
    assertEquals(latencyBucket(us), LATENCY_BUCKETS - 1);
  }
});

Deno.test("latencyBucketUs runs from 1 µs to 2^26 µs in steps of at most 25 %", () => {
  assertEquals(latencyBucketUs(0), 1);
  assertEquals(latencyBucketUs(1), 1.25);
  assertEquals(latencyBucketUs(4), 2);
  assertEquals(latencyBucketUs(LATENCY_BUCKETS - 2), 2 ** 26);
  assertEquals(latencyBucketUs(LATENCY_BUCKETS - 1), Infinity);
  for (let bucket = 1; bucket < LATENCY_BUCKETS - 1; bucket++) {
    assertLessOrEqual(latencyBucketUs(bucket) / latencyBucketUs(bucket - 1), 1.25);
  }
});

Deno.test("QueueStats counts each operation and its bytes in its place", () => {
  const buffer = createStatsBuffer();
  const stats = new QueueStats(buffer);
  const counts: [number, number, number][] = [
    [UBLK_IO_OP_READ, 1, 4096],
    [UBLK_IO_OP_WRITE, 2, 8192],
    [UBLK_IO_OP_FLUSH, 3, 0],
    [UBLK_IO_OP_DISCARD, 4, 512],
    [UBLK_IO_OP_WRITE_ZEROES, 5, 1024],
    [UBLK_IO_OP_ZONE_APPEND, 6, 2048],
    [UBLK_IO_OP_REPORT_ZONES, 7, 0],
  ];
  for (const [op, times, bytes] of counts) {
    for (let time = 0; time < times; time++) stats.count(op, bytes);
  }
  stats.error();
  stats.timeout();
  stats.timeout();
  for (let time = 0; time < 4; time++) stats.shared();
  stats.inFlight = 9;
  stats.batch(3);
  stats.batch(8);
  stats.batch(1);
  const { latency, ...rest } = readStats(buffer);
  assertEquals(rest, {
    reads: 1,
    writes: 2,
    flushes: 3,
    discards: 4,
    writeZeroes: 5,
    zoneAppends: 6,
    others: 7,
    bytesRead: 4096,
    bytesWritten: 16384,
    bytesDiscarded: 2048,
    bytesZeroed: 5120,
    bytesAppended: 12288,
    errors: 1,
    timeouts: 2,
    shared: 4,
    inFlight: 9,
    batches: 3,
    meanBatch: 4,
    maxBatch: 8,
  });
  assertEquals([latency.read.count, latency.write.count, latency.other.count], [0, 0, 0]);
});

Deno.test("QueueStats counts on beyond 2^32", () => {
  const buffer = createStatsBuffer();
  const stats = new QueueStats(buffer);
  for (let time = 0; time < 3; time++) stats.count(UBLK_IO_OP_WRITE, 2 ** 50);
  assertEquals(readStats(buffer).bytesWritten, 3 * 2 ** 50);
});

Deno.test("readStats gives zeros, not NaN, where nothing was measured", () => {
  const { meanBatch, latency } = readStats(createStatsBuffer());
  assertEquals(meanBatch, 0);
  const { buckets, ...rest } = latency.read;
  const zero = { count: 0, meanUs: 0, p50Us: 0, p90Us: 0, p99Us: 0, p999Us: 0, maxUs: 0 };
  assertEquals(rest, zero);
  assertEquals(buckets, new Array(LATENCY_BUCKETS).fill(0));
});

Deno.test("QueueStats.latency keeps reads, writes and the others apart", () => {
  const buffer = createStatsBuffer();
  const stats = new QueueStats(buffer);
  stats.latency(UBLK_IO_OP_READ, 10);
  stats.latency(UBLK_IO_OP_WRITE, 20);
  stats.latency(UBLK_IO_OP_FLUSH, 30);
  stats.latency(UBLK_IO_OP_REPORT_ZONES, 50);
  const { latency } = readStats(buffer);
  assertEquals([latency.read.count, latency.read.maxUs], [1, 10]);
  assertEquals([latency.write.count, latency.write.maxUs], [1, 20]);
  assertEquals([latency.other.count, latency.other.maxUs, latency.other.meanUs], [2, 50, 40]);
});

Deno.test("readStats gives percentiles that are never too low and at most 25 % too high", () => {
  const buffer = createStatsBuffer();
  const stats = new QueueStats(buffer);
  // Each latency from 1 to 10,000 µs once, so that the request of rank n took n µs.
  for (let us = 1; us <= 10_000; us++) stats.latency(UBLK_IO_OP_READ, us);
  const { read } = readStats(buffer).latency;
  assertEquals(read.count, 10_000);
  assertAlmostEquals(read.meanUs, 5000.5, 1e-9);
  assertEquals(read.maxUs, 10_000);
  for (const [got, exact] of [[read.p50Us, 5000], [read.p90Us, 9000], [read.p99Us, 9900]]) {
    assert(got >= exact && got <= exact * 1.25, `${got} for ${exact}`);
  }
  assert(read.p999Us <= read.maxUs, "no percentile above the maximum");
});

Deno.test("readStats takes the nearest rank at the edge of a bucket", () => {
  const buffer = createStatsBuffer();
  const stats = new QueueStats(buffer);
  for (let time = 0; time < 99; time++) stats.latency(UBLK_IO_OP_READ, 3.1);
  stats.latency(UBLK_IO_OP_READ, 1000);
  const { read } = readStats(buffer).latency;
  assertEquals([read.p50Us, read.p90Us, read.p99Us, read.p999Us], [3.5, 3.5, 3.5, 1000]);
});

Deno.test("QueueStats.latency keeps the maximum of what is beyond the last bucket", () => {
  const buffer = createStatsBuffer();
  new QueueStats(buffer).latency(UBLK_IO_OP_FLUSH, 3e9);
  const { other } = readStats(buffer).latency;
  assertEquals([other.p50Us, other.maxUs], [3e9, 3e9]);
});

Deno.test("sumStats merges histograms instead of averaging percentiles", () => {
  const [fast, slow] = [createStatsBuffer(), createStatsBuffer()];
  const fastStats = new QueueStats(fast);
  const slowStats = new QueueStats(slow);
  for (let time = 0; time < 980; time++) fastStats.latency(UBLK_IO_OP_READ, 4);
  for (let time = 0; time < 20; time++) slowStats.latency(UBLK_IO_OP_READ, 5000);
  fastStats.batch(2);
  slowStats.batch(10);
  slowStats.batch(6);
  fastStats.inFlight = 1;
  slowStats.inFlight = 2;
  fastStats.count(UBLK_IO_OP_REPORT_ZONES, 0);
  slowStats.count(UBLK_IO_OP_ZONE_APPEND, 1024);
  slowStats.count(UBLK_IO_OP_WRITE, 512);
  slowStats.error();
  const sum = sumStats([readStats(fast), readStats(slow)]);
  const { read } = sum.latency;
  assertEquals([read.count, read.p50Us, read.p90Us], [1000, 5, 5]);
  assertEquals([read.p99Us, read.maxUs], [5000, 5000]);
  assertAlmostEquals(read.meanUs, (980 * 4 + 20 * 5000) / 1000, 1e-9);
  assertEquals([sum.inFlight, sum.batches, sum.meanBatch, sum.maxBatch], [3, 3, 6, 10]);
  assertEquals([sum.others, sum.writes, sum.bytesWritten, sum.errors], [1, 1, 512, 1]);
  assertEquals([sum.zoneAppends, sum.bytesAppended], [1, 1024]);
});

Deno.test("sumStats of one is that one, and of none is all zeros", () => {
  const buffer = createStatsBuffer();
  const stats = new QueueStats(buffer);
  stats.count(UBLK_IO_OP_READ, 512);
  stats.latency(UBLK_IO_OP_READ, 12.5);
  stats.batch(1);
  assertEquals(sumStats([readStats(buffer)]), readStats(buffer));
  assertEquals(sumStats([]), readStats(createStatsBuffer()));
});
