import { assertAlmostEquals, assertEquals } from "@std/assert";
import { createStatsBuffer, QueueStats, readStats, sumStats } from "../../queue/stats.ts";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
} from "../../uapi/ublk_io.ts";
import { ratesBetween, secondsBetween } from "./rates.ts";
import type { ServerStats } from "../devices/socket.ts";

Deno.test("ratesBetween counts what came in between, per second and class", () => {
  const buffer = createStatsBuffer();
  const stats = new QueueStats(buffer);
  for (let time = 0; time < 1000; time++) stats.count(UBLK_IO_OP_READ, 4096);
  stats.latency(UBLK_IO_OP_READ, 50_000);
  stats.error();
  const earlier = readStats(buffer);
  for (let time = 0; time < 30; time++) stats.count(UBLK_IO_OP_READ, 4096);
  for (let time = 0; time < 10; time++) stats.count(UBLK_IO_OP_WRITE, 1024);
  stats.count(UBLK_IO_OP_FLUSH, 0);
  stats.count(UBLK_IO_OP_DISCARD, 2048);
  stats.latency(UBLK_IO_OP_READ, 10);
  stats.error();
  stats.error();
  const { ops: { read, write, other }, errors } = ratesBetween(earlier, readStats(buffer), 2);
  assertEquals([read.requests, read.bytes], [15, 15 * 4096]);
  assertEquals([read.latency.count, read.latency.p99Us], [1, 12]);
  assertEquals([write.requests, write.bytes, write.latency.count], [5, 5 * 1024, 0]);
  assertEquals([other.requests, other.bytes], [1, 1024]);
  assertEquals(errors, 2);
});

Deno.test("ratesBetween is never negative, though a request was taken back", () => {
  const buffer = createStatsBuffer();
  const stats = new QueueStats(buffer);
  stats.count(UBLK_IO_OP_READ, 4096);
  const earlier = readStats(buffer);
  stats.uncount(UBLK_IO_OP_READ, 4096);
  const { read } = ratesBetween(earlier, readStats(buffer), 1).ops;
  assertEquals([read.requests, read.bytes], [0, 0]);
});

Deno.test("secondsBetween is of one server and one device only", () => {
  const at = (pid: number, sampledMs: number, batches = 0, queues = 1): ServerStats => ({
    total: { ...sumStats([]), batches },
    queues: new Array(queues).fill(sumStats([])),
    logDropped: 0,
    pid,
    sampledMs,
  });
  assertAlmostEquals(secondsBetween(at(7, 1000), at(7, 1250))!, 0.25);
  assertEquals(secondsBetween(at(7, 1000), at(8, 1250)), undefined);
  assertEquals(secondsBetween(at(7, 1000), at(7, 1000)), undefined);
  assertEquals(secondsBetween(at(7, 1000, 5), at(7, 1250, 4)), undefined);
  assertEquals(secondsBetween(at(7, 1000, 5, 1), at(7, 1250, 6, 2)), undefined);
});
