/**
 * Serves many requests of a fake kernel that allocates nothing, so that all garbage comes from the
 * loop: `allocation_child.ts <case> <requests>`, under V8's `--trace-gc`.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import { nullDisk, open } from "../backends/null.ts";
import type { Engine, EngineHost } from "../disk/engine.ts";
import { engineMemory } from "../disk/engine_memory.ts";
import { createControlBlock } from "../queue/control_block.ts";
import { assemble } from "../queue/assembly.ts";
import { BatchSlots } from "../queue/batch_slots.ts";
import { FetchSlots } from "../queue/fetch_slots.ts";
import { createLogBuffer, LOG_INFO, LogWriter } from "../queue/log_ring.ts";
import { QueueServer } from "../queue/server.ts";
import { KIND_BACKEND, KIND_BATCH, KIND_IO } from "../queue/slots.ts";
import { serveInEventLoop } from "../queue/wait.ts";
import { createStatsBuffer, QueueStats } from "../queue/stats.ts";
import { IORING_CQE_F_MORE } from "../uapi/io_uring_cqe.ts";
import { IORING_REGISTER_PBUF_RING } from "../uapi/io_uring_register.ts";
import { UBLK_U_IO_COMMIT_IO_CMDS, UBLK_U_IO_FETCH_IO_CMDS } from "../uapi/ublk_batch.ts";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
  UBLK_IO_RES_NEED_GET_DATA,
  UBLK_IO_RES_OK,
  UBLK_U_IO_NEED_GET_DATA,
} from "../uapi/ublk_io.ts";
import { eventFd } from "../uring/libc.ts";
import { bufferAt } from "../uring/mapping.ts";
import { CQE_WORDS, Ring, type RingKernel, type RingMemory } from "../uring/ring.ts";
import { openMemory } from "./memory_disk.ts";

const DEPTH = 32;
/** Tags that a FETCH's buffer holds. */
const FETCH_TAGS = 2 << 10;
const SQE_WORDS = 16;
const MAX_IO_BYTES = 64 << 10;
const DISK_BYTES = 1 << 30;
const OPS = [UBLK_IO_OP_READ, UBLK_IO_OP_WRITE, UBLK_IO_OP_DISCARD, UBLK_IO_OP_WRITE_ZEROES];

/** A fake driver that gives each slot a new request at once, and copies no data. */
class LeanKernel implements RingKernel {
  readonly fd = -1;
  served = 0;
  readonly memory: RingMemory;
  readonly descriptors = new Uint32Array(DEPTH * 6);
  readonly #ops: number;
  readonly #needGetData: boolean;
  /** The address of the first ring of provided buffers. */
  #ring = 0;
  #tags: Uint16Array<ArrayBuffer> | undefined;
  #used = 0;
  /** `kind` of the FETCH. */
  #fetch = -1;

  constructor(ops: number, needGetData: boolean, ownSqes: number) {
    this.#ops = ops;
    this.#needGetData = needGetData;
    const entries = 4 * DEPTH;
    this.memory = {
      ...{ sqEntries: entries, cqEntries: entries, sqeWords: SQE_WORDS },
      ...{ sqes: new Uint32Array(entries * SQE_WORDS), cqes: new Int32Array(entries * CQE_WORDS) },
      ...{ sqHead: new Uint32Array(1), sqTail: new Uint32Array(1), sqFlags: new Uint32Array(1) },
      ...{ cqHead: new Uint32Array(1), cqTail: new Uint32Array(1), cqFlags: new Uint32Array(1) },
      sqArray: ownSqes > 0 ? new Uint32Array(entries) : undefined,
    };
  }

  enter(toSubmit: number): number {
    const { sqes, sqArray, sqHead, sqEntries } = this.memory;
    for (let taken = 0; taken < toSubmit; taken++) {
      const slot = sqHead[0]++ & (sqEntries - 1);
      const at = (sqArray === undefined ? slot : sqArray[slot]) * SQE_WORDS;
      const kind = sqes[at + 9];
      // Complete a backend's operation at once. The READ of the eventfd for orders stays in flight.
      if (kind === KIND_BACKEND) this.#complete(sqes[at + 8], kind, sqes[at + 6], 0);
      else if (kind === KIND_IO) {
        this.#complete(sqes[at + 8], kind, this.#next(sqes[at + 8], sqes[at + 2]), 0);
      } else if ((kind & 0xff) === KIND_BATCH) this.#batch(at);
    }
    return toSubmit;
  }

  #complete(slot: number, kind: number, result: number, flags: number): void {
    const { cqes, cqTail, cqEntries } = this.memory;
    const cqe = (cqTail[0]++ & (cqEntries - 1)) * CQE_WORDS;
    cqes[cqe] = slot;
    cqes[cqe + 1] = kind;
    cqes[cqe + 2] = result;
    cqes[cqe + 3] = flags;
  }

  /** Handles a COMMIT: every tag gets a new request, and the FETCH returns all of them at once. */
  #batch(at: number): void {
    const { sqes } = this.memory;
    const cmdOp = sqes[at + 2];
    const kind = sqes[at + 9];
    const index = sqes[at + 8];
    if (cmdOp === UBLK_U_IO_FETCH_IO_CMDS) {
      if (index !== 0) return;
      this.#fetch = kind;
      this.#used = 0;
      if (this.#tags !== undefined) return;
      const [low, high] = new Uint32Array(bufferAt(this.#ring, 8));
      this.#tags = new Uint16Array(bufferAt(low + high * 2 ** 32, FETCH_TAGS * 2));
      return this.#deliver();
    }
    const isCommit = cmdOp === UBLK_U_IO_COMMIT_IO_CMDS;
    this.#complete(index, kind, isCommit ? sqes[at + 6] : 0, 0);
    if (isCommit) this.#deliver();
  }

  #deliver(): void {
    for (let tag = 0; tag < DEPTH; tag++) {
      this.#next(tag, 0);
      this.#tags![this.#used++] = tag;
    }
    // A consumed buffer ends the FETCH, which the server then sends again.
    this.#complete(0, this.#fetch, DEPTH * 2, this.#used < FETCH_TAGS ? IORING_CQE_F_MORE : 0);
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
  register(opcode: number, argument: Uint8Array<ArrayBuffer> | null): number {
    if (opcode === IORING_REGISTER_PBUF_RING && this.#ring === 0) {
      const [low, high] = new Uint32Array(argument!.buffer);
      this.#ring = low + high * 2 ** 32;
    }
    return 0;
  }
  close(): void {}
}

/** Reads by the ring, and one append for all writes of a batch. */
class LeanEngine implements Engine {
  readonly operations = DEPTH + 1;
  readonly #memory = engineMemory(DEPTH * MAX_IO_BYTES);
  readonly #writes = new Int32Array(DEPTH);
  #count = 0;
  #appending = 0;
  #host!: EngineHost;

  start(host: EngineHost): void {
    this.#host = host;
  }

  request(request: number): void {
    const host = this.#host;
    const op = host.op(request);
    const length = host.length(request);
    if (op === UBLK_IO_OP_READ) {
      host.readInto(request, 0, length, 7, host.offset(request), request);
    } else if (op === UBLK_IO_OP_WRITE) {
      this.#memory.bytes.set(host.data(request), this.#count * MAX_IO_BYTES);
      this.#writes[this.#count++] = request;
    } else host.answer(request, 0);
  }

  batchEnd(): void {
    if (this.#count === 0 || this.#appending > 0) return;
    this.#appending = this.#count;
    this.#host.write(this.#memory, 0, this.#count * MAX_IO_BYTES, 7, 0, DEPTH);
  }

  done(token: number): void {
    if (token < DEPTH) return this.#host.answer(token, 0);
    for (let nth = 0; nth < this.#appending; nth++) this.#host.answer(this.#writes[nth], 0);
    this.#writes.copyWithin(0, this.#appending, this.#count);
    this.#count -= this.#appending;
    this.#appending = 0;
  }

  giveUp(): void {}
}

/** Settles at once, as an `async` method that waits for nothing. */
const promptly = async (): Promise<void> => {};

const [name, requests] = Deno.args;
if (name === "bare") {
  // The least that Promises make: one from the backend's method, and V8's own for its `await`.
  const methods = [promptly, async () => {}];
  for (let nth = 0; nth < Number(requests); nth++) await methods[nth % 2]();
  Deno.exit();
}
const isDirect = name === "get-data";
using disk = openMemory(DISK_BYTES);
const nothing = open(nullDisk(DISK_BYTES).options);
const BACKENDS: Record<string, Backend> = {
  "copy": { ...nothing, ring: undefined },
  "get-data": disk,
  "batch": { ...nothing, ring: undefined },
  "ring": {
    ...nothing,
    ring: {
      prepare({ op, length, offset }, ring) {
        if (op === UBLK_IO_OP_READ) ring.read(7, 0, length, offset);
        else if (op === UBLK_IO_OP_WRITE) ring.write(7, 0, length, offset);
        else ring.fallocate(7, 3, offset, length);
      },
      complete: ({ op, length }) => op === UBLK_IO_OP_READ || op === UBLK_IO_OP_WRITE ? length : 0,
    },
  },
  "engine": { ...nothing, ring: undefined, engine: new LeanEngine() },
  "plain": {
    ...nothing,
    ring: {
      ...{ plainFd: 7, preferZeroCopy: true },
      prepare: () => {
        throw new Error("every request is plain");
      },
      complete: () => 0,
    },
  },
  "promises": { ...nothing, synchronous: false, ring: undefined, readAt: promptly },
  "garbage": {
    ...nothing,
    ring: undefined,
    // The cost of one forgotten view per request, which the test must detect.
    readAt: (buffer) => void buffer.subarray(1).fill(0),
  },
};
const backend = BACKENDS[name];
// A RAM disk's discards are system calls with 64-bit arguments, whose bigints become garbage.
const isPlain = name === "plain";
const eventLoop = name === "promises";
const ownSqes = isPlain ? 2 * DEPTH : 0;
const kernel = new LeanKernel(eventLoop ? 1 : isDirect || isPlain ? 2 : 4, isDirect, ownSqes);
const ring = new Ring(kernel.memory, kernel, ownSqes);
const log = new LogWriter(createLogBuffer(64, { level: LOG_INFO }));
const stats = new QueueStats(createStatsBuffer());
const Arrival = name === "batch" ? BatchSlots : FetchSlots;
const slots = new Arrival({
  ring,
  charFd: 3,
  queues: [{ queue: 0, descriptors: kernel.descriptors, stats }],
  depth: DEPTH,
  log,
});
const parts = assemble({
  ...{ backend, ring, slots, log, maxIoBytes: MAX_IO_BYTES },
  charFd: 3,
  path: isDirect ? "get-data" : "copy",
  eventLoop,
  answered: () => {},
});
const control = new Int32Array(createControlBlock(20_000));
using server = new QueueServer({ ring, slots, parts, log, control, wakeFd: 9 });
server.fetch();
if (eventLoop) {
  const enter = kernel.enter.bind(kernel);
  kernel.enter = (toSubmit) => kernel.served < Number(requests) ? enter(toSubmit) : Deno.exit();
  await serveInEventLoop(server, eventFd(true), 20_000);
}
while (kernel.served < Number(requests)) {
  ring.enter(1);
  server.process();
}
