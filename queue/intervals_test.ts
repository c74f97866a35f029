import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import { latencyBetween, notBelow } from "./intervals.ts";
import { createStatsBuffer, QueueStats, readStats } from "./stats.ts";

function counters() {
  const buffer = createStatsBuffer();
  return { stats: new QueueStats(buffer), read: () => readStats(buffer) };
}

Deno.test("latencyBetween has the percentiles of the interval alone", () => {
  const { stats, read } = counters();
  for (let time = 0; time < 1000; time++) stats.latency(UBLK_IO_OP_READ, 60_000);
  const earlier = read().latency.read;
  for (let time = 0; time < 98; time++) stats.latency(UBLK_IO_OP_READ, 10);
  for (let time = 0; time < 2; time++) stats.latency(UBLK_IO_OP_READ, 900);
  const later = read().latency.read;
  assert(later.p50Us > 50_000, "by itself the later snapshot shows what was long ago");
  const { count, meanUs, p50Us, p90Us, p99Us, p999Us, maxUs } = latencyBetween(earlier, later);
  assertEquals([count, p50Us, p90Us], [100, 12, 12]);
  assertEquals([p99Us, p999Us, maxUs], [1024, 1024, 1024]);
  assertAlmostEquals(meanUs, (98 * 10 + 2 * 900) / 100, 1e-6);
});

Deno.test("latencyBetween names no longest that nobody had", () => {
  const { stats, read } = counters();
  const earlier = read().latency.write;
  stats.latency(UBLK_IO_OP_WRITE, 1000.5);
  assertEquals(latencyBetween(earlier, read().latency.write).maxUs, 1000.5);
});

Deno.test("latencyBetween of a snapshot and itself is all zeros", () => {
  const { stats, read } = counters();
  stats.latency(UBLK_IO_OP_READ, 77);
  const { read: once } = read().latency;
  const { buckets, ...rest } = latencyBetween(once, once);
  const zero = { count: 0, meanUs: 0, p50Us: 0, p90Us: 0, p99Us: 0, p999Us: 0, maxUs: 0 };
  assertEquals(rest, zero);
  assert(buckets.every((value) => value === 0));
});

Deno.test("notBelow keeps a counter that was taken back, and lets the others grow", () => {
  const { stats, read } = counters();
  stats.count(UBLK_IO_OP_READ, 4096);
  stats.count(UBLK_IO_OP_READ, 4096);
  stats.inFlight = 5;
  const earlier = read();
  stats.uncount(UBLK_IO_OP_READ, 4096);
  stats.error();
  stats.count(UBLK_IO_OP_WRITE, 512);
  stats.inFlight = 1;
  const later = notBelow(earlier, read());
  assertEquals([read().reads, read().bytesRead], [1, 4096]);
  assertEquals([later.reads, later.bytesRead], [2, 8192]);
  assertEquals([later.writes, later.bytesWritten, later.errors, later.inFlight], [1, 512, 1, 1]);
});
