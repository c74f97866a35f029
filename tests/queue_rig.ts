/**
 * A test rig for a serving thread without a kernel: the real server, slots and data path over a fake
 * ring and a fake driver.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import { paranoid } from "../disk/paranoid.ts";
import { mayBlock } from "../disk/traits.ts";
import { createControlBlock } from "../queue/control_block.ts";
import {
  assemble,
  type Assembly,
  ownSqesPerSlot,
  sqesBesideSlots,
  sqesPerSlot,
} from "../queue/assembly.ts";
import { BatchSlots } from "../queue/batch_slots.ts";
import type { DataPath, Handler } from "../queue/data_path.ts";
import { FetchSlots } from "../queue/fetch_slots.ts";
import { createLogBuffer, LOG_DEBUG, LOG_ERROR, LogReader, LogWriter } from "../queue/log_ring.ts";
import { QueueServer } from "../queue/server.ts";
import type { SharedBuffer } from "../queue/shared_memory.ts";
import { KIND_LEAVE, KIND_TICK, type Slots } from "../queue/slots.ts";
import { createStatsBuffer, QueueStats, readStats, type Stats } from "../queue/stats.ts";
import { type DataPathName, isZeroCopy } from "../uapi/data_path.ts";
import { assert } from "../uapi/error.ts";
import { type FakeKernel, fakeRing, type FakeRingOptions } from "../uring/fake_ring.ts";
import { monotonicUs, openAllOfLibc } from "../uring/libc.ts";
import { registerSparseBuffers } from "../uring/register.ts";
import type { Ring } from "../uring/ring.ts";
import type { FakeFile } from "./fake_file.ts";
import type { FakeIo, FakeRequest } from "./fake_request.ts";
import { FAKE_CHAR_FD, type FakeDataMode } from "./fake_slot.ts";
import { FakeUblk } from "./fake_ublk.ts";

// Stays open for the life of the process. Opened here so that no test's sanitizer reports a leak.
openAllOfLibc();

/** Options of a {@linkcode QueueRig}. */
export interface RigOptions extends Partial<FakeRingOptions> {
  /** The backend that answers requests. */
  backend: Backend;
  /**
   * The data path.
   *
   * @default "copy"
   */
  path?: DataPathName;
  /**
   * Hardware queues.
   *
   * @default 1
   */
  queues?: number;
  /**
   * Tags per queue.
   *
   * @default 4
   */
  depth?: number;
  /**
   * The largest request, in bytes.
   *
   * @default 65536
   */
  maxIoBytes?: number;
  /** Whether the server detects buffers used after release. */
  paranoid?: boolean;
  /** Whether batch I/O is used: one command for many requests. */
  batch?: boolean;
  /**
   * Whether this thread prepares the tags, with batch I/O.
   *
   * @default true
   */
  prepare?: boolean;
  /** Bytes after which a FETCH's buffer counts as consumed, with batch I/O. */
  fetchBytes?: number;
  /** Bytes of integrity metadata per block. */
  metadataSize?: number;
  /** Memory shared with clients. */
  sharedBuffers?: readonly SharedBuffer[];
  /** The file that the backend's own operations access. */
  file?: FakeFile;
  /** Whether the deadline applies to operations on the ring too. */
  bounded?: boolean;
  /** Handles `io_uring_register`. */
  onRegister?: FakeKernel["onRegister"];
  /** The device, if shared with another rig. */
  ublk?: FakeUblk;
}

/** The fake driver's mode for each data path. */
const DATA_MODES: Record<DataPathName, FakeDataMode> = {
  "copy": "copy",
  "get-data": "needGetData",
  "user-copy": "userCopy",
  "zero-copy": "zeroCopy",
  "auto-zero-copy": "autoBuffers",
  "auto-zero-copy-fallback": "autoBuffersOrZeroCopy",
};

/** More turns than any test needs, so that a test that waits in vain fails rather than hangs. */
const TURNS = 20_000;

/** One serving thread, driven turn by turn by the test. */
export class QueueRig implements Disposable {
  readonly ublk: FakeUblk;
  readonly ring: Ring;
  readonly kernel: FakeKernel;
  readonly slots: Slots;
  readonly path: DataPath;
  readonly handler: Handler;
  readonly server: QueueServer;
  readonly control: Int32Array<SharedArrayBuffer>;
  readonly #stats: SharedArrayBuffer[];
  readonly #reader: LogReader;
  readonly #watch: Partial<Disposable>;

  /** Creates all parts. Call {@linkcode fetch} afterwards. */
  constructor(options: RigOptions) {
    const { backend, queues = 1, depth = 4, maxIoBytes = 64 << 10, path = "copy" } = options;
    const { sharedBuffers, metadataSize, batch = false, prepare } = options;
    const eventLoop = !mayBlock(backend);
    const zoned = backend.zones !== undefined;
    this.ublk = options.ublk ??
      new FakeUblk({ ...options, queues, depth, data: DATA_MODES[path], zoned });
    const sized = { backend, path, eventLoop, sharedBuffers, metadataSize };
    const perSlot = Math.max(1, sqesPerSlot(sized));
    const beside = sqesBesideSlots(sized);
    // A deliberately small ring has no SQEs to spare.
    const ownSqes = options.entries === undefined
      ? queues * depth * ownSqesPerSlot({ ...sized, batch })
      : 0;
    const entries = 2 ** Math.ceil(Math.log2(queues * depth * perSlot + beside + 1 + ownSqes));
    const fake = fakeRing({ entries, ownSqes, handler: this.ublk.handler, ...options });
    this.ring = fake.ring;
    this.kernel = fake.kernel;
    this.ublk.attach(fake.kernel);
    if (options.onRegister !== undefined) fake.kernel.onRegister = options.onRegister;
    const logBuffer = createLogBuffer(1024, { level: LOG_DEBUG });
    const log = new LogWriter(logBuffer);
    this.#reader = new LogReader(logBuffer);
    this.#stats = this.ublk.descriptors.map(() => createStatsBuffer());
    const owned = this.ublk.descriptors.map((descriptors, queue) => {
      return { queue, descriptors, stats: new QueueStats(this.#stats[queue]), prepare };
    });
    const { ring } = this;
    const slotsOptions = { ring, charFd: FAKE_CHAR_FD, queues: owned, depth, log };
    this.slots = batch ? new BatchSlots(slotsOptions) : new FetchSlots(slotsOptions);
    if (isZeroCopy(path)) registerSparseBuffers(ring, this.slots.count);
    const seen = options.paranoid
      ? paranoid(backend, (text) => log.text(LOG_ERROR, text))
      : backend;
    this.#watch = seen as Partial<Disposable>;
    const { slots } = this;
    const answered = () => this.server.answered();
    const parts: Assembly = assemble({
      ...{ backend, seen, ring, slots, path, maxIoBytes, eventLoop, log, answered },
      ...{
        bounded: options.bounded,
        sharedBuffers,
        metadataSize,
        blockSize: backend.blockSize,
        charFd: FAKE_CHAR_FD,
      },
    });
    this.path = parts.path;
    this.handler = parts.handler;
    this.control = new Int32Array(createControlBlock(20_000));
    const { control } = this;
    this.server = new QueueServer({ ring, slots, parts, log, control, wakeFd: 9 });
  }

  /** Fetches all tags. */
  fetch(): this {
    const errno = this.server.fetch();
    assert(errno === 0, `FETCH was refused with ${errno}`);
    // With faults some FETCHes may not have arrived yet.
    this.run(() => this.ublk.ready);
    return this;
  }

  /** The messages logged since the last call. */
  log(): string[] {
    const lines: string[] = [];
    this.#reader.drain(({ message }) => lines.push(message));
    return lines;
  }

  /** The counters of a queue. */
  stats(queue = 0): Stats {
    return readStats(this.#stats[queue]);
  }

  /** Runs one turn of the loop. */
  turn(): void {
    this.server.flush();
    this.ring.enter(0);
    this.server.process();
  }

  /** Runs turns until `done` returns true. */
  run(done: () => boolean): void {
    for (let turn = 0; !done(); turn++) {
      assert(turn < TURNS, "the rig would hang");
      this.turn();
    }
  }

  /** As {@linkcode run}, with turns of the event loop in between. */
  async runAsync(done: () => boolean): Promise<void> {
    for (let turn = 0; !done(); turn++) {
      assert(turn < TURNS, "the rig would hang");
      this.turn();
      await nextTurn();
    }
  }

  /** Sends a request and runs turns until it is answered. */
  io(io: FakeIo, queue = 0): FakeRequest {
    const request = this.ublk.submitIo(queue, io);
    this.run(() => request.result !== undefined);
    return request;
  }

  /** As {@linkcode io}, for a backend with Promises. */
  async ioAsync(io: FakeIo, queue = 0): Promise<FakeRequest> {
    const request = this.ublk.submitIo(queue, io);
    await this.runAsync(() => request.result !== undefined);
    return request;
  }

  /** Sends a request and runs turns until the server has it. */
  start(io: FakeIo, queue = 0): FakeRequest {
    const held = this.handler.outstanding;
    const request = this.ublk.submitIo(queue, io);
    this.run(() => this.handler.outstanding > held);
    return request;
  }

  /** Makes every pending Promise of the backend miss its deadline now. */
  expire(): void {
    this.handler.expire(monotonicUs() + 2e6, 1e6);
    this.turn();
  }

  /** Stops the device as the driver does, and checks that every request was answered once. */
  stop(): void {
    this.ublk.stop();
    this.run(() => !this.server.running);
    this.assertStopped();
  }

  /** Checks that the thread's service has ended correctly. */
  assertStopped(): void {
    assert(this.slots.live === 0, `${this.slots.live} slots are live`);
    // Only the READ of the eventfd for orders may remain, and perhaps the timers.
    const timers = [KIND_LEAVE, KIND_TICK];
    const limit = 1 + timers.filter((timer) => {
      return this.ublk.foreign.some(({ kind }) => kind === timer);
    }).length;
    const { inFlight } = this.kernel;
    assert(inFlight >= 1 && inFlight <= limit, `${inFlight} SQEs are in flight`);
    assert(this.handler.outstanding === 0, "no request is outstanding");
    assert(this.server.lostErrno === 0, `a tag was lost with ${this.server.lostErrno}`);
    this.ublk.assertAnsweredOnce();
  }

  /** Ends the service, as `prepareServing` does. */
  [Symbol.dispose](): void {
    this.server[Symbol.dispose]();
    if (this.slots instanceof BatchSlots) this.slots[Symbol.dispose]();
    this.#watch[Symbol.dispose]?.();
  }
}

/** Resolves after a turn of the event loop. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
