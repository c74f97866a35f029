import { assert, assertEquals } from "@std/assert";
import { mockBackend } from "../testing.ts";
import { DiskModel } from "../tests/disk_model.ts";
import { nextTurn, QueueRig } from "../tests/queue_rig.ts";
import { ETIMEDOUT } from "../uapi/errno.ts";
import { UBLK_IO_OP_FLUSH, UBLK_IO_OP_READ } from "../uapi/ublk_io.ts";
import { Dice } from "../uapi/dice.ts";
import { closeFd, eventFd, signalEventFd } from "../uring/libc.ts";
import {
  CONTROL_DEADLINE_MS,
  CONTROL_ORDER,
  CONTROL_PROGRESS,
  CONTROL_STATE,
  ORDER_ABANDON,
  THREAD_IDLE,
  THREAD_IN_USER,
} from "./control_block.ts";
import { serveBlocking, serveInEventLoop, serveInTurns } from "./wait.ts";

/** Fails if the service does not end, instead of hanging. */
async function within(promise: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("it hangs")), 10_000);
  });
  await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const READ = { op: UBLK_IO_OP_READ, sectors: 8 };

Deno.test("serveBlocking serves until the device is gone, and sleeps only in the kernel", () => {
  const states: number[] = [];
  const backend = {
    ...mockBackend({ synchronous: true }),
    flush: () => void states.push(rig.control[CONTROL_STATE]),
  };
  const faults = { shortSubmit: 0.3, eintr: 0.3, ebusy: 0.2, delay: 0.3, reorder: 0.3 };
  const rig = new QueueRig({ backend, faults, seed: 5 }).fetch();
  using _ = rig;
  const model = new DiskModel(1 << 20, 512, 64 << 10, new Dice(5));
  let idles = 0;
  // The fake kernel has nothing under way: the thread would sleep here.
  rig.kernel.onIdle = () => {
    assertEquals(rig.control[CONTROL_STATE], THREAD_IDLE);
    if (++idles > 50) return rig.ublk.stop();
    for (const { io } of model.batch(6)) rig.ublk.submitIo(0, io);
    rig.ublk.submitIo(0, { op: UBLK_IO_OP_FLUSH });
  };
  serveBlocking(rig.server);
  rig.assertStopped();
  assert(states.length >= 50 && states.every((state) => state === THREAD_IN_USER));
});

Deno.test("serveInTurns lets the event loop have its turns, and serves all the same", async () => {
  const rig = new QueueRig({ backend: mockBackend({ synchronous: true }) }).fetch();
  using _ = rig;
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  let waits = 0;
  const asleep = new Int32Array(new SharedArrayBuffer(4));
  const enterTimeout = rig.kernel.enterTimeout.bind(rig.kernel);
  rig.kernel.enterTimeout = (...parts) => {
    Atomics.wait(asleep, 0, 0, 10);
    if (++waits < 40) rig.ublk.submitIo(0, READ);
    else if (waits === 40) rig.ublk.stop();
    return enterTimeout(...parts);
  };
  await within(serveInTurns(rig.server));
  clearInterval(timer);
  rig.assertStopped();
  assert(turns >= 2 && turns < waits, `${turns} turns`);
});

/** Makes a rig whose fake kernel signals the registered eventfd, as the real kernel does. */
function eventRig(backend: ReturnType<typeof mockBackend>) {
  const rig = new QueueRig({ backend, depth: 2 });
  const completions = eventFd(true);
  let fd = -1;
  rig.kernel.onRegister = (_opcode, argument) => {
    fd = new Int32Array(argument!.slice().buffer)[0];
    return 0;
  };
  const complete = rig.kernel.complete.bind(rig.kernel);
  rig.kernel.complete = (...parts) => {
    complete(...parts);
    if (fd >= 0) signalEventFd(fd);
  };
  rig.fetch();
  return {
    rig,
    serve: (deadlineMs: number) => serveInEventLoop(rig.server, completions, deadlineMs),
    [Symbol.dispose]() {
      rig[Symbol.dispose]();
      closeFd(completions);
    },
  };
}

Deno.test("serveInEventLoop serves Promises and synchronous answers until the device is gone", async () => {
  const faults = [{ effect: "late", rate: 0.5, delayMs: [0, 4] }] as const;
  const descriptors = () => [...Deno.readDirSync("/proc/self/fd")].length;
  using it = eventRig(mockBackend({ faults }));
  const before = descriptors();
  const { rig } = it;
  const served = it.serve(20_000);
  const model = new DiskModel(1 << 20, 512, 64 << 10, new Dice(3));
  for (let batch = 0; batch < 10; batch++) {
    const ios = model.batch(6);
    const requests = ios.map(({ io }) => rig.ublk.submitIo(0, io));
    await within(Promise.all(requests.map(({ done }) => done)));
    ios.forEach(({ check }, index) => check(requests[index]));
  }
  rig.ublk.stop();
  await within(served);
  rig.assertStopped();
  assertEquals(descriptors(), before);
});

Deno.test("serveInEventLoop answers for a Promise that never settles, and shows that it is alive", async () => {
  using it = eventRig(mockBackend({ faults: [{ op: "readAt", effect: "never" }] }));
  const { rig } = it;
  const served = it.serve(200);
  Atomics.store(rig.control, CONTROL_DEADLINE_MS, 200);
  const progress = rig.control[CONTROL_PROGRESS];
  const started = performance.now();
  const read = rig.ublk.submitIo(0, READ);
  await within(read.done);
  assertEquals(read.results, [-ETIMEDOUT]);
  const tookMs = performance.now() - started;
  assert(tookMs >= 195 && tookMs < 5000, `${tookMs} ms`);
  assert(rig.control[CONTROL_PROGRESS] - progress >= 4, "it ticks while it waits");
  rig.ublk.stop();
  await within(served);
  rig.assertStopped();
});

Deno.test("serveInEventLoop ends when told to abandon, whatever is outstanding", async () => {
  using it = eventRig(mockBackend({ faults: [{ effect: "never" }] }));
  const { rig } = it;
  const served = it.serve(20_000);
  rig.ublk.submitIo(0, READ);
  while (rig.handler.outstanding === 0) await nextTurn();
  Atomics.or(rig.control, CONTROL_ORDER, ORDER_ABANDON);
  const { userData, kind } = rig.ublk.foreign[0];
  rig.kernel.complete(userData, kind, 8);
  await within(served);
  assertEquals(rig.handler.outstanding, 1);
});
