/**
 * A program that `device/telemetry_test.ts` starts with and without OpenTelemetry. A fake device serves
 * some requests, and its telemetry is exported as the environment says.
 *
 * @module
 */

import type { Device } from "../device/device.ts";
import { sendTelemetry } from "../device/telemetry.ts";
import { createStatsBuffer, QueueStats, readStats, sumStats } from "../queue/stats.ts";
import { UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";

const buffer = createStatsBuffer();
const stats = new QueueStats(buffer);
const closed = Promise.withResolvers<unknown>();
await sendTelemetry({
  id: 900_000,
  closed: closed.promise,
  stats: () => ({ total: sumStats([readStats(buffer)]), queues: [], logDropped: 0 }),
} as unknown as Device);
for (let time = 0; time < 12; time++) {
  stats.count(UBLK_IO_OP_READ, 4096);
  stats.latency(UBLK_IO_OP_READ, 100);
}
stats.count(UBLK_IO_OP_WRITE, 512);
stats.error();
// Runs until the parent closes stdin.
await Deno.stdin.read(new Uint8Array(1));
Deno.exit(0);
