/**
 * The bed's server: our rings, loops and handlers, in this process's own thread.
 *
 * `server.ts FILE DEPTH KIND [URL]`: prints "ready" once it serves, and after each line on stdin the
 * bytes of the heap so far.
 *
 * @module
 */

import { createControlBlock } from "../../queue/control_block.ts";
import { createLogBuffer, LogWriter } from "../../queue/log_ring.ts";
import { prepareServing } from "../../queue/serving.ts";
import { createStatsBuffer } from "../../queue/stats.ts";
import { eventFd, openFile } from "../../uring/libc.ts";
import { type Kind, open } from "./kinds.ts";
import { BedSlots } from "./slots.ts";

const O_RDWR = 2;
const [path, depth, kind, url] = Deno.args;
const backend = open({ kind: kind as Kind, size: 64 << 20, url });
const log = new LogWriter(createLogBuffer());
const serving = prepareServing(
  backend,
  {
    device: 0,
    charFd: openFile(path, O_RDWR),
    queues: [{ queue: 0, stats: createStatsBuffer() }],
    depth: Number(depth),
    maxIoBytes: 4096,
    path: "copy",
    batch: false,
    fixedFile: false,
    blockSize: 512,
    metadataSize: 0,
    sharedBuffers: [],
    control: createControlBlock(30_000),
    wakeFd: eventFd(),
    completionsFd: eventFd(true),
    deadlineMs: 30_000,
    bounded: false,
    paranoid: false,
  },
  log,
  { makeSlots: (options) => new BedSlots(options) },
);
console.log("ready");
await serving.run();
