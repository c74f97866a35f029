/**
 * Serves many requests of a kernel that allocates nothing, so that what garbage there is comes from
 * the loop: `allocation_child.ts <case> <requests>`, under V8's `--trace-gc`.
 *
 * @module
 */

import type { Backend } from "../backends/backend.ts";
import { nullDisk, open } from "../backends/null.ts";
import { createControlBlock } from "../queue/control_block.ts";
import { CopyPath } from "../queue/copy_path.ts";
import type { DataPath } from "../queue/data_path.ts";
import { GetDataPath } from "../queue/get_data_path.ts";
import { createLogBuffer, LOG_INFO, LogWriter } from "../queue/log_ring.ts";
import { QueueServer } from "../queue/server.ts";
import { Slots } from "../queue/slots.ts";
import { createStatsBuffer, QueueStats } from "../queue/stats.ts";
import { IORING_OP_URING_CMD } from "../uapi/io_uring_sqe.ts";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
  UBLK_IO_RES_NEED_GET_DATA,
  UBLK_IO_RES_OK,
  UBLK_U_IO_NEED_GET_DATA,
} from "../uapi/ublk_io.ts";
import { CQE_WORDS, Ring, type RingKernel, type RingMemory } from "../uring/ring.ts";
import { openMemory } from "./memory_disk.ts";

const DEPTH = 32;
const SQE_WORDS = 16;
const MAX_IO_BYTES = 64 << 10;
const DISK_BYTES = 1 << 30;
const OPS = [UBLK_IO_OP_READ, UBLK_IO_OP_WRITE, UBLK_IO_OP_DISCARD, UBLK_IO_OP_WRITE_ZEROES];

/** A driver that has a new request for each slot at once, and copies no data. */
class LeanKernel implements RingKernel {
  readonly fd = -1;
  served = 0;
  readonly memory: RingMemory;
  readonly descriptors = new Uint32Array(DEPTH * 6);
  readonly #ops: number;
  readonly #needGetData: boolean;

  constructor(ops: number, needGetData: boolean) {
    this.#ops = ops;
    this.#needGetData = needGetData;
    const entries = 2 * DEPTH;
    this.memory = {
      ...{ sqEntries: entries, cqEntries: entries, sqeWords: SQE_WORDS },
      ...{ sqes: new Uint32Array(entries * SQE_WORDS), cqes: new Int32Array(entries * CQE_WORDS) },
      ...{ sqHead: new Uint32Array(1), sqTail: new Uint32Array(1), sqFlags: new Uint32Array(1) },
      ...{ cqHead: new Uint32Array(1), cqTail: new Uint32Array(1) },
    };
  }

  enter(toSubmit: number): number {
    const { sqes, sqHead, cqes, cqTail, sqEntries, cqEntries } = this.memory;
    for (let taken = 0; taken < toSubmit; taken++) {
      const at = (sqHead[0]++ & (sqEntries - 1)) * SQE_WORDS;
      // The READ of the eventfd for orders stays in flight.
      if ((sqes[at] & 0xff) !== IORING_OP_URING_CMD) continue;
      const slot = sqes[at + 8];
      const cqe = (cqTail[0] & (cqEntries - 1)) * CQE_WORDS;
      cqes[cqe] = slot;
      cqes[cqe + 1] = sqes[at + 9];
      cqes[cqe + 2] = this.#next(slot, sqes[at + 2]);
      cqTail[0]++;
    }
    return toSubmit;
  }

  #next(slot: number, cmdOp: number): number {
    if (cmdOp === UBLK_U_IO_NEED_GET_DATA) return UBLK_IO_RES_OK;
    const index = this.served++;
    const op = OPS[index % this.#ops];
    const words = this.descriptors;
    words[slot * 6] = op;
    words[slot * 6 + 1] = 8 << (index % 5);
    words[slot * 6 + 2] = (index * 4096 % (DISK_BYTES - MAX_IO_BYTES)) / 512;
    return this.#needGetData && op === UBLK_IO_OP_WRITE
      ? UBLK_IO_RES_NEED_GET_DATA
      : UBLK_IO_RES_OK;
  }

  enterTimeout = (toSubmit: number): number => this.enter(toSubmit);
  register = (): number => 0;
  close(): void {}
}

const [name, requests] = Deno.args;
const isDirect = name === "get-data";
using disk = openMemory(DISK_BYTES);
const nothing = open(nullDisk(DISK_BYTES).options);
const backend: Backend = isDirect ? disk : name === "copy" ? nothing : {
  ...nothing,
  // What one forgotten view per request costs: the test must see it.
  readAt: (buffer) => void buffer.subarray(1).fill(0),
};
// A RAM disk's discards are system calls with 64-bit arguments, whose bigints are garbage.
const kernel = new LeanKernel(isDirect ? 2 : 4, isDirect);
const ring = new Ring(kernel.memory, kernel);
const log = new LogWriter(createLogBuffer(64, { level: LOG_INFO }));
const stats = new QueueStats(createStatsBuffer());
const slots = new Slots(
  ring,
  3,
  [{ queue: 0, descriptors: kernel.descriptors, stats }],
  DEPTH,
  log,
);
const path: DataPath = isDirect
  ? new GetDataPath(backend, slots, log)
  : new CopyPath(backend, slots, MAX_IO_BYTES, false, log, () => {});
const control = new Int32Array(createControlBlock(20_000));
using server = new QueueServer({ ring, slots, path, log, control, wakeFd: 9 });
server.fetch();
while (kernel.served < Number(requests)) {
  ring.enter(1);
  server.process();
}
