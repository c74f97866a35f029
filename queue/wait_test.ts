import { assert, assertEquals } from "@std/assert";
import type { Backend } from "../disk/backend.ts";
import { mockBackend } from "../testing.ts";
import { DiskModel } from "../tests/disk_model.ts";
import type { FakeRequest } from "../tests/fake_request.ts";
import { RIG_CASES, RING_FAULTS } from "../tests/rig_cases.ts";
import { eachSeed } from "../tests/seeds.ts";
import { nextTurn, QueueRig, type RigOptions } from "../tests/queue_rig.ts";
import { EIO, ETIME, ETIMEDOUT } from "../uapi/errno.ts";
import { UBLK_IO_OP_FLUSH, UBLK_IO_OP_READ } from "../uapi/ublk_io.ts";
import { Dice } from "../uapi/dice.ts";
import { closeFd, eventFd } from "../uring/libc.ts";
import {
  CONTROL_DEADLINE_MS,
  CONTROL_ORDER,
  CONTROL_PROGRESS,
  CONTROL_STATE,
  ORDER_ABANDON,
  THREAD_IDLE,
  THREAD_IN_USER,
} from "./control_block.ts";
import { KIND_TICK, KIND_WAKE } from "./slots.ts";
import { serveBlocking, serveInEventLoop, serveWithTelemetry } from "./wait.ts";

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

Deno.test("serveWithTelemetry lets the event loop have its turns, and serves all the same", async () => {
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
  await within(serveWithTelemetry(rig.server));
  clearInterval(timer);
  rig.assertStopped();
  assert(turns >= 2 && turns < waits, `${turns} turns`);
});

/** Milliseconds of the tick, as in `wake_page.ts`. */
const TICK_MS = 4;

/**
 * Makes a rig that is served from the event loop. Its tick ends in its time, or when all is idle; or
 * in the so many-th `io_uring_enter`.
 */
function eventRig(backend: Backend, options: Partial<RigOptions> & { tickEnters?: number } = {}) {
  const { tickEnters } = options;
  const rig = new QueueRig({ depth: 2, ...options, backend }).fetch();
  const completions = eventFd(true);
  const { kernel, ublk } = rig;
  let tickingSinceMs = 0;
  let tickingEnters = 0;
  let before = (_blocks: boolean) => {};
  let after = (_inVain: boolean) => {};
  let isIdle = false;
  const endTick = () => {
    const at = ublk.foreign.findIndex(({ kind }) => kind === KIND_TICK);
    if (at < 0) return;
    ublk.foreign.splice(at, 1);
    tickingSinceMs = tickingEnters = 0;
    kernel.complete(0, KIND_TICK, -ETIME);
  };
  kernel.onIdle = () => {
    isIdle = true;
    endTick();
  };
  const enter = kernel.enter.bind(kernel);
  kernel.enter = (toSubmit, minComplete, flags) => {
    before(minComplete > 0);
    if (ublk.foreign.some(({ kind }) => kind === KIND_TICK)) {
      tickingSinceMs ||= performance.now();
      const isOver = tickEnters === undefined
        ? performance.now() - tickingSinceMs >= TICK_MS
        : ++tickingEnters === tickEnters;
      if (isOver) endTick();
    }
    isIdle = false;
    const taken = enter(toSubmit, minComplete, flags);
    after(isIdle);
    return taken;
  };
  return {
    rig,
    completions,
    serve: (deadlineMs: number) => serveInEventLoop(rig.server, completions, deadlineMs),
    /** Calls back before each `io_uring_enter`, with whether the thread blocks in it. */
    onEnter: (run: typeof before) => void (before = run),
    /** Calls back after each `io_uring_enter`, with whether only the tick has ended it. */
    afterEnter: (run: typeof after) => void (after = run),
    [Symbol.dispose]() {
      rig[Symbol.dispose]();
      closeFd(completions);
    },
  };
}

/** Promises that are settled at once, and one that takes some turns of the microtasks. */
const PROMPT: Record<string, () => Promise<void> | void> = {
  "no Promise": () => {},
  "an async method": async () => {},
  "several awaits": async () => {
    for (let turn = 0; turn < 8; turn++) await undefined;
  },
};

for (const [what, readAt] of Object.entries(PROMPT)) {
  Deno.test(`serveInEventLoop blocks in the kernel between requests answered by ${what}`, async () => {
    // By count: each tick costs another call, and a slow machine would have many.
    using it = eventRig({ ...mockBackend(), readAt }, { tickEnters: 50 });
    const { rig } = it;
    let blocks = 0;
    let others = 0;
    const requests: FakeRequest[] = [];
    it.onEnter((isBlocking) => {
      if (!isBlocking) return void others++;
      blocks++;
      if (blocks <= 200) requests.push(rig.ublk.submitIo(0, READ));
      else if (blocks === 201) rig.ublk.stop();
    });
    await within(it.serve(20_000));
    assertEquals(new Set(requests.map(({ result }) => result)), new Set([4096]));
    // A request is submitted and waited for in one call. The event loop has had few turns.
    assert(blocks > 200 && others < 50, `${blocks} waits, ${others} other calls`);
    assert(rig.kernel.signals < 50, `${rig.kernel.signals} signals`);
  });
}

Deno.test("serveInEventLoop gives the event loop its turns under full load", async () => {
  using it = eventRig(mockBackend());
  const { rig } = it;
  const asleep = new Int32Array(new SharedArrayBuffer(4));
  let since = 0;
  let most = 0;
  let batches = 0;
  it.onEnter((isBlocking) => {
    if (!isBlocking) return;
    // Each batch takes 1 ms, and the next request is there already.
    Atomics.wait(asleep, 0, 0, 1);
    most = Math.max(most, ++since);
    if (++batches <= 100) rig.ublk.submitIo(0, READ);
    else if (batches === 101) rig.ublk.stop();
  });
  // As a socket of the backend would.
  const { port1, port2 } = new MessageChannel();
  let messages = 0;
  port2.onmessage = () => {
    since = 0;
    messages++;
    port1.postMessage(0);
  };
  port1.postMessage(0);
  await within(it.serve(20_000));
  port1.close();
  port2.close();
  assert(batches > 100 && messages >= 5, `${batches} batches, ${messages} messages`);
  // Some six, and more if a turn was over before the message had come through.
  assert(most <= 40, `${most} batches without a message`);
});

// By count, so that it holds on any machine. The event loop shows that it had a turn by an immediate,
// which a turn now and then leaves to the next one.
for (const [what, isStuck] of [["answers at once", false], ["holds a request", true]] as const) {
  Deno.test(`serveInEventLoop + full load, the backend ${what} + a turn after each tick`, async () => {
    const faults = isStuck ? [{ op: "readAt", effect: "never", nth: 1 }] as const : [];
    using it = eventRig(mockBackend({ faults }), { depth: 4, tickEnters: 8 });
    const { rig } = it;
    const enters = 500;
    let [count, most, sinceTurn, turns] = [0, 0, 0, 0];
    it.onEnter(() => {
      if (++count > enters) return;
      most = Math.max(most, ++sinceTurn);
      rig.ublk.submitIo(0, READ);
    });
    const turn = () => {
      if (sinceTurn > 0) turns++;
      sinceTurn = 0;
      if (count < enters) setImmediate(turn);
    };
    setImmediate(turn);
    const served = it.serve(20_000);
    while (count < enters) await nextTurn();
    Atomics.or(rig.control, CONTROL_ORDER, ORDER_ABANDON);
    const { userData, kind } = rig.ublk.foreign.find(({ kind }) => kind === KIND_WAKE)!;
    rig.kernel.complete(userData, kind, 8);
    await within(served);
    // The calls that start the tick, the 8 of the tick, and one or two before the turn.
    const period = 11;
    assert(turns >= enters / period / 2, `${turns} turns`);
    assert(most <= 5 * period, `${most} times in the kernel without a turn`);
  });
}

Deno.test("serveInEventLoop + the first Promise of a batch is outstanding + the others are answered", async () => {
  const late: PromiseWithResolvers<void>[] = [];
  const calls: number[] = [];
  const backend = {
    ...mockBackend(),
    readAt: (_buffer: Uint8Array, offset: number): Promise<void> => {
      calls.push(offset / 4096);
      if (offset > 0) return offset === 4096 ? Promise.reject(new Error("no")) : Promise.resolve();
      late.push(Promise.withResolvers<void>());
      return late.at(-1)!.promise;
    },
  };
  using it = eventRig(backend, { depth: 4 });
  const { rig } = it;
  const served = it.serve(20_000);
  for (let round = 0; round < 3; round++) {
    const all = [0, 1, 2].map((nth) => rig.ublk.submitIo(0, { ...READ, sector: nth * 8 }));
    await within(Promise.all([all[1].done, all[2].done]));
    assertEquals(all.map(({ result }) => result), [undefined, -EIO, 4096]);
    // The slots of those answered are used again before the outstanding Promise settles.
    const more = [1, 2].map((nth) => rig.ublk.submitIo(0, { ...READ, sector: nth * 8 }));
    await within(Promise.all(more.map(({ done }) => done)));
    assertEquals(more.map(({ result }) => result), [-EIO, 4096]);
    late[round].resolve();
    await within(all[0].done);
    assertEquals(all[0].result, 4096);
  }
  assertEquals(calls, Array(3).fill([0, 1, 2, 1, 2]).flat());
  rig.ublk.stop();
  await within(served);
  rig.assertStopped();
});

Deno.test("serveInEventLoop handles a request after the Promise of the one before has settled", async () => {
  const [LATE, PROMPT_AGAIN] = [64 << 10, 128 << 10];
  const events: string[] = [];
  const readAt = async (_buffer: Uint8Array, offset: number) => {
    if (offset === LATE) return new Promise<void>((resolve) => setTimeout(resolve, 1));
    if (offset === PROMPT_AGAIN) return;
    events.push(`begin ${offset / 4096}`);
    for (let turn = 0; turn < 30; turn++) await undefined;
    events.push(`end ${offset / 4096}`);
  };
  using it = eventRig({ ...mockBackend(), readAt }, { depth: 4 });
  const { rig } = it;
  const served = it.serve(20_000);
  for (let round = 0; round < 2; round++) {
    const all = [0, 1, 2].map((nth) => rig.ublk.submitIo(0, { ...READ, sector: nth * 8 }));
    await within(Promise.all(all.map(({ done }) => done)));
    assertEquals(events.splice(0), [0, 1, 2].flatMap((nth) => [`begin ${nth}`, `end ${nth}`]));
    // A Promise that is outstanding ends this, and one that settles at once begins it again.
    for (const offset of [LATE, PROMPT_AGAIN]) {
      await within(rig.ublk.submitIo(0, { ...READ, sector: offset / 512 }).done);
    }
  }
  // Each is timed, also those that share a reading of the clock.
  assertEquals(rig.stats().latency.read.count, 10);
  assert(rig.stats().latency.read.maxUs > 0);
  rig.ublk.stop();
  await within(served);
});

/** Answers that are no plain Promises, or break the rules of one. */
const ODD: Record<string, [answer: () => unknown, result: number]> = {
  "a method that throws after an await": [async () => {
    await undefined;
    throw new Error("no");
  }, -EIO],
  "a thenable that settles twice": [
    () => ({
      then: (resolve: (value: void) => void) => {
        resolve();
        resolve();
      },
    }),
    4096,
  ],
  "a thenable that throws": [() => ({
    then: () => {
      throw new Error("no");
    },
  }), -EIO],
  "a Promise whose constructor cannot be read": [
    () =>
      Object.defineProperty(Promise.resolve(), "constructor", {
        get() {
          throw new Error("no");
        },
      }),
    -EIO,
  ],
};

for (const [what, [answer, result]] of Object.entries(ODD)) {
  Deno.test(`serveInEventLoop answers each request once, by ${what}`, async () => {
    using it = eventRig({ ...mockBackend(), readAt: answer as () => Promise<void> }, { depth: 4 });
    const { rig } = it;
    const served = it.serve(20_000);
    for (let round = 0; round < 2; round++) {
      const requests = [1, 2, 3].map(() => rig.ublk.submitIo(0, READ));
      await within(Promise.all(requests.map(({ done }) => done)));
      assertEquals(requests.map((request) => request.result), Array(3).fill(result));
    }
    rig.ublk.stop();
    await within(served);
    rig.assertStopped();
  });
}

Deno.test("serveInEventLoop does not block a thread that serves another device too", async () => {
  using first = eventRig(mockBackend());
  using second = eventRig(mockBackend());
  const served = [first, second].map((it) => it.serve(20_000));
  let blocks = 0;
  for (const it of [first, second]) it.onEnter((isBlocking) => blocks += isBlocking ? 1 : 0);
  await nextTurn();
  for (let nth = 0; nth < 10; nth++) {
    const requests = [first, second].map(({ rig }) => rig.ublk.submitIo(0, READ));
    await within(Promise.all(requests.map(({ done }) => done)));
  }
  assertEquals(blocks, 0);
  second.rig.ublk.stop();
  await within(served[1]);
  await within(first.rig.ublk.submitIo(0, READ).done);
  assert(blocks > 0, "the last one may block again");
  first.rig.ublk.stop();
  await within(served[0]);
});

Deno.test("serveInEventLoop sleeps, and does not tick, while nothing comes", async () => {
  using it = eventRig(mockBackend());
  const { rig } = it;
  const served = it.serve(20_000);
  for (let nth = 0; nth < 3; nth++) {
    await within(rig.ublk.submitIo(0, READ).done);
    // The tick that follows finds nothing, and it falls asleep. If it ticked on, it would enter the
    // kernel every few milliseconds.
    const end = performance.now() + 10_000;
    for (let enters = -1; enters !== rig.kernel.enters;) {
      assert(performance.now() < end, "it never sleeps");
      enters = rig.kernel.enters;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  rig.ublk.stop();
  await within(served);
});

// Each loop once blocked a thread of Deno's pool, which has 32: the 33rd device hung, and so did
// every read of a file.
Deno.test("serveInEventLoop serves 200 devices of one thread, and leaves Deno's pool to others", async () => {
  using stack = new DisposableStack();
  const all = Array.from({ length: 200 }, () => stack.use(eventRig(mockBackend())));
  const served = all.map((it) => it.serve(20_000));
  for (let round = 0; round < 2; round++) {
    await nextTurn();
    await within(Deno.readTextFile(new URL(import.meta.url)));
    await within(Promise.all(all.map(({ rig }) => rig.ublk.submitIo(0, READ).done)));
  }
  for (const { rig } of all) rig.ublk.stop();
  await within(Promise.all(served));
});

Deno.test("serveInEventLoop misses nothing that completes while it goes to sleep", async () => {
  using it = eventRig(mockBackend());
  const { rig } = it;
  const requests: FakeRequest[] = [];
  it.afterEnter((inVain) => {
    // It comes after a wait that was in vain, when completions do not signal yet.
    if (inVain && requests.length < 20) requests.push(rig.ublk.submitIo(0, READ));
  });
  const served = it.serve(20_000);
  while (requests.length < 20) {
    // Wakes the thread, so that it goes to sleep once more.
    await within(rig.ublk.submitIo(0, READ).done);
    await within(requests.at(-1)!.done);
  }
  rig.ublk.stop();
  await within(served);
  rig.assertStopped();
  assertEquals(requests.map(({ result }) => result), Array(20).fill(4096));
});

Deno.test("serveInEventLoop looks idle to the watch while the event loop runs other code", async () => {
  using it = eventRig(mockBackend());
  const { rig } = it;
  const states = new Set<number>();
  let batches = 0;
  let isOver = false;
  let isStopped = false;
  it.onEnter((isBlocking) => {
    if (!isBlocking) return;
    if (++batches > 2000) isOver = true;
    if (!isOver) rig.ublk.submitIo(0, READ);
    else if (!isStopped) rig.ublk.stop();
    isStopped = isOver;
    const until = performance.now() + 1;
    while (performance.now() < until);
  });
  const timer = setInterval(() => {
    states.add(rig.control[CONTROL_STATE]);
    isOver = true;
  }, 0);
  await within(it.serve(20_000));
  clearInterval(timer);
  assertEquals(states, new Set([THREAD_IDLE]));
});

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

/** How long an answer takes: not at all, some turns of the microtasks, or of the event loop. */
function moody(disk: Backend, dice: Dice): Backend {
  const wait = (): Promise<void> | undefined => {
    const draw = dice.draw(6);
    if (draw === 0) return undefined;
    if (draw === 1) return new Promise((resolve) => setTimeout(resolve, dice.draw(4)));
    if (draw === 2) return new Promise((resolve) => setImmediate(resolve));
    return (async () => {
      for (let turn = dice.draw(30); turn > 0; turn--) await undefined;
    })();
  };
  return {
    ...disk,
    readAt: (buffer, offset) =>
      wait()?.then(() => disk.readAt(buffer, offset)) ??
        disk.readAt(buffer, offset),
    writeAt: (buffer, offset, options) =>
      wait()?.then(() => disk.writeAt(buffer, offset, options)) ??
        disk.writeAt(buffer, offset, options),
  };
}

for (const { name, path, batch } of RIG_CASES.filter(({ kind }) => kind === "promises")) {
  Deno.test(`serveInEventLoop with ${name} answers each request once and right, in whatever order`, async (t) => {
    await eachSeed(t, 4, async (seed) => {
      const dice = new Dice(seed);
      const disk = moody(mockBackend(), dice);
      using it = eventRig(disk, { path, batch, depth: 4, queues: 2, seed, faults: RING_FAULTS });
      const { rig } = it;
      const served = it.serve(20_000);
      const model = new DiskModel(1 << 20, 512, 64 << 10, dice);
      for (let round = 0; round < 3; round++) {
        const ios = model.batch(1 + dice.draw(16));
        const requests = ios.map(({ io }) => rig.ublk.submitIo(dice.draw(2), io));
        await within(Promise.all(requests.map(({ done }) => done)));
        ios.forEach(({ check }, index) => check(requests[index]));
      }
      rig.ublk.stop();
      await within(served);
      rig.assertStopped();
    });
  });
}

Deno.test("serveInEventLoop answers for a Promise that never settles, and shows that it is alive", async () => {
  using it = eventRig(mockBackend({ faults: [{ op: "readAt", effect: "never" }] }));
  const { rig } = it;
  // It looks for late requests every 25 ms. At first there is no deadline that could be over.
  const served = it.serve(200);
  Atomics.store(rig.control, CONTROL_DEADLINE_MS, 60_000);
  const started = performance.now();
  const read = rig.ublk.submitIo(0, READ);
  while (rig.handler.outstanding === 0) await nextTurn();
  const progress = rig.control[CONTROL_PROGRESS];
  while (rig.control[CONTROL_PROGRESS] - progress < 4) {
    assert(performance.now() - started < 10_000, "it does not tick while it waits");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assertEquals(read.results, []);
  Atomics.store(rig.control, CONTROL_DEADLINE_MS, 200);
  await within(read.done);
  assertEquals(read.results, [-ETIMEDOUT]);
  const tookMs = performance.now() - started;
  assert(tookMs >= 195, `${tookMs} ms`);
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
