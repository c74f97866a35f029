/**
 * The bed's server: our rings, loops and handlers, in this process's own thread.
 *
 * ```text
 * server.ts FILE DEPTH KIND [URL|still [ECHO_PORT]]
 * ```
 *
 * A disk that is still moves no data. Prints "ready" once it serves. With a port, it has timers, a socket and fetches of its own, and
 * prints every half second how late each was: the 99th percentile and the maximum in
 * milliseconds, and their number. The
 * peer of the socket answers with the time.
 *
 * @module
 */

import { createControlBlock } from "../../queue/control_block.ts";
import { createLogBuffer, LogWriter } from "../../queue/log_ring.ts";
import { prepareServing } from "../../queue/serving.ts";
import { createStatsBuffer } from "../../queue/stats.ts";
import { eventFd, monotonicUs, openFile } from "../../uring/libc.ts";
import { type Kind, open } from "./kinds.ts";
import { BedSlots } from "./slots.ts";

const O_RDWR = 2;
const DEADLINE_MS = 30_000;
const PROBE_MS = 500;

const [path, depth, kind, url, echoPort] = Deno.args;
const backend = open({ kind: kind as Kind, size: 64 << 20, url, moves: url !== "still" });
const serving = prepareServing(
  backend,
  {
    ...{ device: 0, charFd: openFile(path, O_RDWR), depth: Number(depth), maxIoBytes: 4096 },
    queues: [{ queue: 0, stats: createStatsBuffer() }],
    ...{ path: "copy", batch: false, fixedFile: false, blockSize: 512, metadataSize: 0 },
    ...{ sharedBuffers: [], bounded: false, paranoid: false },
    ...{ control: createControlBlock(DEADLINE_MS), deadlineMs: DEADLINE_MS },
    ...{ wakeFd: eventFd(), completionsFd: eventFd(true) },
  },
  new LogWriter(createLogBuffer()),
  { makeSlots: (options) => new BedSlots(options) },
);
console.log("ready");
if (echoPort !== undefined) probe(Number(echoPort));
await serving.run();

/** Runs timers, round trips and fetches for ever. */
async function probe(port: number): Promise<void> {
  const late: number[][] = [[], [], []];
  const note = (column: number, ms: number) => late[column].push(ms);
  const connection = await Deno.connect({ port, hostname: "127.0.0.1" });
  const timers = async () => {
    for (;;) {
      const startMs = performance.now();
      await new Promise((resolve) => setTimeout(resolve, 1));
      note(0, performance.now() - startMs - 1);
    }
  };
  const trips = async () => {
    const byte = new Uint8Array(1);
    const sentUs = new Float64Array(1);
    const answer = new Uint8Array(sentUs.buffer);
    for (;;) {
      await connection.write(byte);
      await connection.read(answer);
      note(1, (monotonicUs() - sentUs[0]) / 1e3);
    }
  };
  const fetches = async () => {
    for (;;) {
      const startMs = performance.now();
      await (await fetch(url)).bytes();
      note(2, performance.now() - startMs);
    }
  };
  timers();
  trips();
  fetches();
  setInterval(() => {
    const parts = late.map((all) => {
      const [rank, end] = [Math.floor(all.length * 0.99), all.length - 1];
      all.sort((one, other) => one - other);
      return [all[rank] ?? 0, all[end] ?? 0, all.length].join(" ");
    });
    console.log(parts.join(" "));
    for (const all of late) all.length = 0;
  }, PROBE_MS);
}
