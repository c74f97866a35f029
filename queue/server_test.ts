import { assert, assertEquals } from "@std/assert";
import { mockBackend } from "../testing.ts";
import { ALL_OPS, DiskModel } from "../tests/disk_model.ts";
import { openMemory } from "../tests/memory_disk.ts";
import { nextTurn, QueueRig, type RigOptions } from "../tests/queue_rig.ts";
import { EBUSY, EINVAL } from "../uapi/errno.ts";
import {
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_U_IO_COMMIT_AND_FETCH_REQ,
  UBLK_U_IO_FETCH_REQ,
} from "../uapi/ublk_io.ts";
import { type FakeFaults, FaultDice } from "../uring/fake_faults.ts";
import {
  CONTROL_DEADLINE_MS,
  CONTROL_ORDER,
  CONTROL_PROGRESS,
  CONTROL_SEEN,
  ORDER_ABANDON,
  ORDER_DRAIN,
} from "./control_block.ts";

const DISK_BYTES = 1 << 20;
const MAX_IO_BYTES = 64 << 10;
const FAULTS: FakeFaults = {
  ...{ shortSubmit: 0.2, eintr: 0.2, eagain: 0.1, ebusy: 0.1, delay: 0.3, reorder: 0.5 },
  earlyReturn: 0.2,
};

/** A rig whose shape and faults follow from the seed. */
function seededRig(seed: number, options: RigOptions): { rig: QueueRig; dice: FaultDice } {
  const dice = new FaultDice(seed);
  const rig = new QueueRig({
    queues: 1 + dice.draw(2),
    depth: 1 + dice.draw(8),
    seed,
    faults: FAULTS,
    // The 32-bit indices wrap around within the first few requests.
    initialIndex: 2 ** 32 - 1 - dice.draw(40),
    // Rings that overflow, some of them at once.
    cqEntries: 2 ** (1 + dice.draw(5)),
    ...options,
    maxIoBytes: MAX_IO_BYTES,
  });
  return { rig: rig.fetch(), dice };
}

/** Serves random batches and checks each answer; more at a time than there are tags. */
function exercise(rig: QueueRig, model: DiskModel, dice: FaultDice, batches: number): void {
  const queues = rig.ublk.descriptors.length;
  for (let batch = 0; batch < batches; batch++) {
    const ios = model.batch(1 + dice.draw(2 * rig.slots.count), ALL_OPS);
    const requests = ios.map(({ io }) => rig.ublk.submitIo(dice.draw(queues), io));
    rig.run(() => requests.every(({ result }) => result !== undefined));
    ios.forEach(({ check }, index) => check(requests[index]));
  }
}

Deno.test("QueueServer with CopyPath answers each request once and right, whatever the ring does", () => {
  for (let seed = 1; seed <= 150; seed++) {
    const blockSize = [512, 1024, 2048, 4096][seed % 4];
    const backend = mockBackend({ size: DISK_BYTES, blockSize, synchronous: true });
    const { rig, dice } = seededRig(seed, { backend, paranoid: seed % 10 === 0 });
    using _ = rig;
    exercise(rig, new DiskModel(DISK_BYTES, blockSize, MAX_IO_BYTES, dice), dice, 12);
    rig.stop();
    assertEquals(rig.log(), [], `seed ${seed}`);
  }
});

Deno.test("QueueServer with GetDataPath answers each request once and right, whatever the ring does", () => {
  for (let seed = 1; seed <= 150; seed++) {
    const blockSize = [512, 1024, 2048, 4096][seed % 4];
    using backend = openMemory(DISK_BYTES, { blockSize });
    // Its writes need no flush, so the kernel sends none; here one is sent all the same.
    const flushed = { ...backend, flush: () => {} };
    const { rig, dice } = seededRig(seed, { backend: flushed, path: "get-data" });
    using _ = rig;
    exercise(rig, new DiskModel(DISK_BYTES, blockSize, MAX_IO_BYTES, dice), dice, 12);
    rig.stop();
    assertEquals(rig.log(), [], `seed ${seed}`);
  }
});

Deno.test("QueueServer with Promises in any order answers each request once and right", async () => {
  const faults = [
    { effect: "late", rate: 0.4, delayMs: [0, 3] },
    { effect: "twice", rate: 0.2 },
  ] as const;
  for (let seed = 1; seed <= 40; seed++) {
    const backend = mockBackend({ size: DISK_BYTES, faults, seed });
    const { rig, dice } = seededRig(seed, { backend, paranoid: seed % 4 === 0 });
    using _ = rig;
    const model = new DiskModel(DISK_BYTES, 512, MAX_IO_BYTES, dice);
    for (let batch = 0; batch < 4; batch++) {
      const ios = model.batch(1 + dice.draw(2 * rig.slots.count));
      const requests = ios.map(({ io }) => rig.ublk.submitIo(0, io));
      await rig.runAsync(() => requests.every(({ result }) => result !== undefined));
      ios.forEach(({ check }, index) => check(requests[index]));
    }
    rig.stop();
    assertEquals([rig.stats().inFlight, rig.log()], [0, []], `seed ${seed}`);
  }
});

Deno.test("QueueServer's loop ends when the device is stopped at any point of the work", () => {
  for (let seed = 1; seed <= 100; seed++) {
    using backend = openMemory(DISK_BYTES);
    const path = seed % 2 === 0 ? "get-data" : "copy";
    const { rig, dice } = seededRig(seed, { backend: { ...backend, flush: () => {} }, path });
    using _ = rig;
    for (const { io } of new DiskModel(DISK_BYTES, 512, MAX_IO_BYTES, dice).batch(24)) {
      rig.ublk.submitIo(0, io);
    }
    for (let turn = dice.draw(30); turn > 0; turn--) rig.turn();
    rig.stop();
    assertEquals(rig.server.running, false, `seed ${seed}`);
  }
});

Deno.test("QueueServer.fetch tells the errno with which the kernel refuses a slot", () => {
  const rig = new QueueRig({ backend: mockBackend() });
  using _ = rig;
  rig.kernel.handler = (sqe, kernel) => {
    const isSecond = sqe.cmdOp === UBLK_U_IO_FETCH_REQ && sqe.userData === 1;
    if (isSecond) kernel.complete(sqe.userData, sqe.kind, -EBUSY);
    else rig.ublk.handler(sqe, kernel);
  };
  assertEquals(rig.server.fetch(), EBUSY);
  assertEquals([rig.slots.live, rig.log()], [3, ["queue 0 tag 1 lost: errno 16"]]);
});

Deno.test("QueueServer goes on without a tag whose commit was refused, and keeps the first errno", () => {
  using rig = new QueueRig({ backend: mockBackend(), depth: 3 }).fetch();
  let refusals = [EINVAL, EBUSY];
  rig.kernel.handler = (sqe, kernel) => {
    const errno = sqe.cmdOp === UBLK_U_IO_COMMIT_AND_FETCH_REQ ? refusals.shift() : undefined;
    if (errno === undefined) rig.ublk.handler(sqe, kernel);
    else kernel.complete(sqe.userData, sqe.kind, -errno);
  };
  for (let io = 0; io < 2; io++) rig.ublk.submitIo(0, { op: UBLK_IO_OP_FLUSH });
  rig.run(() => rig.slots.live === 1);
  refusals = [];
  assertEquals([rig.server.lostErrno, rig.server.running], [EINVAL, true]);
  assertEquals(rig.io({ op: UBLK_IO_OP_FLUSH }).result, 0);
  assertEquals(rig.log(), [
    "queue 0 tag 0 lost: errno 22",
    "queue 0 tag 1 lost: errno 16",
  ]);
});

/** Gives an order as the manager does. */
function order(rig: QueueRig, order: number): void {
  Atomics.or(rig.control, CONTROL_ORDER, order);
  const { userData, kind } = rig.ublk.foreign.at(-1)!;
  rig.kernel.complete(userData, kind, 8);
}

Deno.test("QueueServer takes the order to drain and goes on, also a second time", () => {
  using rig = new QueueRig({ backend: mockBackend() }).fetch();
  for (let time = 0; time < 2; time++) {
    Atomics.store(rig.control, CONTROL_SEEN, 0);
    order(rig, ORDER_DRAIN);
    rig.run(() => Atomics.load(rig.control, CONTROL_SEEN) === ORDER_DRAIN);
    assertEquals(rig.io({ op: UBLK_IO_OP_FLUSH }).result, 0);
  }
  rig.stop();
});

Deno.test("QueueServer leaves at once when told to abandon, with requests outstanding", () => {
  const backend = mockBackend({ faults: [{ effect: "never" }] });
  using rig = new QueueRig({ backend }).fetch();
  rig.start({ op: UBLK_IO_OP_READ, sectors: 8 });
  order(rig, ORDER_ABANDON);
  rig.turn();
  assertEquals([rig.server.running, rig.server.outstanding, rig.slots.live], [false, 1, 4]);
});

Deno.test("QueueServer.submitSoon submits answers given between two turns, in one call", async () => {
  const settle: (() => void)[] = [];
  const backend = { ...mockBackend(), flush: () => new Promise<void>((done) => settle.push(done)) };
  using rig = new QueueRig({ backend }).fetch();
  const requests = [0, 1, 2].map(() => rig.start({ op: UBLK_IO_OP_FLUSH }));
  const enters = rig.kernel.enters;
  for (const done of settle) done();
  await nextTurn();
  assertEquals(requests.map(({ result }) => result), [0, 0, 0]);
  assertEquals(rig.kernel.enters - enters, 1);
});

Deno.test("QueueServer.expire takes the deadline from the control block, where the manager may change it", () => {
  const backend = mockBackend({ faults: [{ effect: "never" }] });
  using rig = new QueueRig({ backend }).fetch();
  rig.start({ op: UBLK_IO_OP_FLUSH });
  rig.server.expire();
  assertEquals(rig.server.outstanding, 1);
  Atomics.store(rig.control, CONTROL_DEADLINE_MS, 0);
  rig.server.expire();
  assertEquals(rig.server.outstanding, 0);
});

Deno.test("QueueServer shows its progress and counts what it serves, queue by queue", () => {
  using rig = new QueueRig({ backend: mockBackend({ synchronous: true }), queues: 2 }).fetch();
  const before = rig.control[CONTROL_PROGRESS];
  rig.io({ op: UBLK_IO_OP_WRITE, sectors: 8 }, 1);
  rig.io({ op: UBLK_IO_OP_READ, sectors: 2 }, 0);
  assertEquals(rig.control[CONTROL_PROGRESS] - before, 2);
  const [first, second] = [rig.stats(0), rig.stats(1)];
  assertEquals([first.reads, first.bytesRead, first.writes], [1, 1024, 0]);
  assertEquals([second.writes, second.bytesWritten, second.reads], [1, 4096, 0]);
});

Deno.test("QueueServer times one batch of 64, and that one right", () => {
  using rig = new QueueRig({ backend: mockBackend({ synchronous: true }), depth: 1 }).fetch();
  for (let io = 0; io < 300; io++) rig.io({ op: UBLK_IO_OP_READ, sectors: 1 });
  const { read } = rig.stats().latency;
  assert(read.count > 0 && read.count <= 10, `${read.count} were timed`);
  assert(read.maxUs > 0 && read.maxUs < 1e6, `${read.maxUs} µs`);
});
