/**
 * Serves a disk with a log level, and then leaves its main thread blocked in a read of stdin, so
 * that nobody drains the log: `_trace_server.ts sync|async LEVEL`. Once stdin ends it says what it
 * counted, and stops.
 *
 * @module
 */

import { serve } from "../../mod.ts";
import { counting, watched } from "../backends/counting.ts";

const [style, level] = Deno.args;
const disk = watched(32 << 20);
const backend = counting(disk, "per-queue", { style: style as "sync" | "async" });
const device = await serve({ backend, queues: 2, logLevel: Number(level) });
console.log(device.path);
Deno.stdin.readSync(new Uint8Array(1));
const { total, logDropped } = device.stats();
console.log(JSON.stringify({ requests: total.reads + total.writes, logDropped }));
await device.stop();
