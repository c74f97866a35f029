import { assert, assertEquals } from "@std/assert";
import { mockBackend } from "../testing.ts";
import { DiskModel } from "../tests/disk_model.ts";
import type { FakeIo, FakeRequest } from "../tests/fake_request.ts";
import { nextTurn, QueueRig, type RigOptions } from "../tests/queue_rig.ts";
import {
  type CaseDisk,
  caseDisk,
  RIG_CASES,
  type RigCase,
  RING_FAULTS,
} from "../tests/rig_cases.ts";
import { EBUSY, EFAULT, EINVAL, ENOMEM, ENOSPC } from "../uapi/errno.ts";
import { ETIME } from "../uapi/errno_numbers.ts";
import {
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_RES_ABORT,
  UBLK_U_IO_COMMIT_AND_FETCH_REQ,
  UBLK_U_IO_FETCH_REQ,
} from "../uapi/ublk_io.ts";
import { FaultDice } from "../uring/fake_faults.ts";
import {
  CONTROL_DEADLINE_MS,
  CONTROL_ORDER,
  CONTROL_PROGRESS,
  CONTROL_SEEN,
  ORDER_ABANDON,
  ORDER_DRAIN,
} from "./control_block.ts";
import { KIND_IO, KIND_LEAVE } from "./slots.ts";
import { eachSeed } from "../tests/seeds.ts";

const DISK_BYTES = 1 << 20;
const MAX_IO_BYTES = 64 << 10;
const READ_BLOCK = { op: UBLK_IO_OP_READ, sectors: 8 };

/** Makes a rig with shape and faults derived from the seed. */
function seededRig(seed: number, options: RigOptions): { rig: QueueRig; dice: FaultDice } {
  const dice = new FaultDice(seed);
  const rig = new QueueRig({
    queues: 1 + dice.draw(2),
    depth: 1 + dice.draw(8),
    seed,
    faults: RING_FAULTS,
    // The 32-bit indices wrap around during the first few requests.
    initialIndex: 2 ** 32 - 1 - dice.draw(40),
    // Small rings that overflow, some of them at once.
    cqEntries: 2 ** (1 + dice.draw(5)),
    ...options,
    maxIoBytes: MAX_IO_BYTES,
  });
  return { rig: rig.fetch(), dice };
}

/** Sends requests. With batch I/O they sometimes arrive all at once. */
function submit(rig: QueueRig, ios: readonly FakeIo[], dice: FaultDice): FakeRequest[] {
  const queues = rig.ublk.descriptors.length;
  const send = () => ios.map((io) => rig.ublk.submitIo(dice.draw(queues), io));
  return dice.draw(2) === 0 ? send() : rig.ublk.plug(send);
}

/** Takes turns until all requests are answered. */
async function settle(rig: QueueRig, requests: FakeRequest[], isAsync: boolean): Promise<void> {
  const areAnswered = () => requests.every(({ result }) => result !== undefined);
  if (isAsync) await rig.runAsync(areAnswered);
  else rig.run(areAnswered);
}

/** Runs a test with a case's rig, once per seed. */
async function forSeeds(
  t: Deno.TestContext,
  seeds: number,
  rigCase: RigCase,
  run: (it: {
    rig: QueueRig;
    dice: FaultDice;
    model: DiskModel;
    disk: CaseDisk;
    seed: number;
    isAsync: boolean;
  }) => void | Promise<void>,
): Promise<void> {
  await eachSeed(t, seeds, async (seed) => {
    using disk = caseDisk(rigCase, seed, DISK_BYTES);
    const { backend, file } = disk;
    const { path, batch } = rigCase;
    const isAsync = rigCase.kind === "promises";
    // The paranoid wrapper uses other buffers.
    const watched = seed % 5 === 0 && (isAsync || rigCase.kind === "bytes");
    const { rig, dice } = seededRig(seed, {
      ...{ backend, file, path, batch, paranoid: watched },
      fetchBytes: 2 * (1 + seed % 20),
    });
    using _ = rig;
    const model = new DiskModel(DISK_BYTES, backend.blockSize!, MAX_IO_BYTES, dice);
    await run({ rig, dice, model, disk, seed, isAsync });
  });
}

for (const rigCase of RIG_CASES) {
  Deno.test(`QueueServer with ${rigCase.name} answers each request once and right, whatever the ring does`, async (t) => {
    const seeds = rigCase.kind === "promises" ? 6 : 15;
    await forSeeds(t, seeds, rigCase, async ({ rig, dice, model, isAsync }) => {
      for (let batch = 0; batch < (isAsync ? 4 : 10); batch++) {
        // Up to twice as many requests as tags.
        const ios = model.batch(1 + dice.draw(2 * rig.slots.count));
        const requests = submit(rig, ios.map(({ io }) => io), dice);
        await settle(rig, requests, isAsync);
        ios.forEach(({ check }, index) => check(requests[index]));
      }
      rig.stop();
      assertEquals([rig.stats().inFlight, rig.log()], [0, []]);
    });
  });

  Deno.test(`QueueServer with ${rigCase.name} ends when the device is stopped at any point of the work`, async (t) => {
    await forSeeds(t, rigCase.kind === "promises" ? 4 : 12, rigCase, async (it) => {
      const { rig, dice, model, disk: { file } } = it;
      if (file !== undefined) file.held = dice.draw(2) === 0;
      const requests = submit(rig, model.batch(24).map(({ io }) => io), dice);
      for (let turn = dice.draw(30); turn > 0; turn--) rig.turn();
      rig.ublk.stop();
      for (let turn = dice.draw(5); turn > 0; turn--) rig.turn();
      if (file !== undefined) file.held = false;
      file?.release();
      await settle(rig, requests, it.isAsync);
      rig.stop();
      assertEquals(rig.server.running, false);
    });
  });

  Deno.test(`QueueServer with ${rigCase.name} answers each request once where copies and operations fail`, async (t) => {
    let failed = 0;
    await forSeeds(t, rigCase.kind === "promises" ? 4 : 12, rigCase, async (it) => {
      const { rig, dice, model, disk: { file } } = it;
      const { ublk } = rig;
      for (let batch = 0; batch < 10; batch++) {
        ublk.faults = [
          {},
          { copy: -EFAULT, unregister: EINVAL },
          { copy: 512 * dice.draw(2), register: ENOMEM },
        ][dice.draw(3)];
        // Some operations succeed before one fails or is short.
        const operations = Array.from({ length: dice.draw(4) }, () => undefined);
        file?.results.push(...operations, [-ENOSPC, 0, 512][dice.draw(3)]);
        const ios = model.batch(1 + dice.draw(2 * rig.slots.count)).map(({ io }) => io);
        // A short copy of 512 bytes would be the whole of a one-sector request.
        const requests = submit(rig, ios.filter(({ sectors }) => sectors !== 1), dice);
        await settle(rig, requests, it.isAsync);
        failed += requests.filter(({ result }) => result! < 0).length;
        if (file !== undefined) file.results.length = 0;
      }
      ublk.faults = {};
      // After any failure all tags, buffers and threads still work.
      const reads = Array.from({ length: 2 * rig.slots.count }, () => READ_BLOCK);
      const requests = submit(rig, reads, dice);
      await settle(rig, requests, it.isAsync);
      assertEquals(new Set(requests.map(({ result }) => result)), new Set([4096]));
      rig.stop();
    });
    const { path, kind } = rigCase;
    assertEquals(failed > 0, kind === "ring" || kind === "engine" || path === "user-copy");
  });
}

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

/** Gives an order, as the manager does. */
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

Deno.test("QueueServer.answered wakes the loop, which submits all answers in one call", async () => {
  const settle: (() => void)[] = [];
  const backend = { ...mockBackend(), flush: () => new Promise<void>((done) => settle.push(done)) };
  using rig = new QueueRig({ backend }).fetch();
  const requests = [0, 1, 2].map(() => rig.start({ op: UBLK_IO_OP_FLUSH }));
  let woken = 0;
  rig.server.onAnswer = () => woken++;
  const enters = rig.kernel.enters;
  for (const done of settle) done();
  await nextTurn();
  assertEquals([woken, rig.kernel.enters - enters], [3, 0]);
  rig.turn();
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

// QUIESCE_DEV returns only slots that have no request at that moment. Regression: the server waited
// for the others, and held the device for ever.
Deno.test("QueueServer leaves a device that is quiesced once all is answered and submitted", () => {
  using rig = new QueueRig({ backend: mockBackend(), depth: 3 }).fetch();
  const slots = rig.slots;
  // The kernel returns the first two slots while the third has a request.
  rig.kernel.complete(0, KIND_IO, UBLK_IO_RES_ABORT);
  slots.requestArrived(2);
  rig.kernel.complete(1, KIND_IO, UBLK_IO_RES_ABORT);
  rig.turn();
  assertEquals([slots.live, slots.held, rig.server.running], [1, 1, true]);
  rig.kernel.complete(0, KIND_LEAVE, -ETIME);
  rig.turn();
  assertEquals(rig.server.running, true);
  slots.answer(2, 0);
  assertEquals([slots.held, rig.server.running], [0, false]);
  assert(rig.ring.pending > 0);
  rig.server.finish();
  assertEquals(rig.ring.pending, 0);
});
