import { assert, assertEquals, assertGreater, assertLess, assertThrows } from "@std/assert";
import { EBADF, ECANCELED, EIO } from "../uapi/errno.ts";
import { AssertionError, UblkError } from "../uapi/error.ts";
import { IORING_CQE_F_MORE } from "../uapi/io_uring_cqe.ts";
import { IOSQE_IO_LINK } from "../uapi/io_uring_sqe.ts";
import { type FakeFaults, FaultDice } from "./fake_faults.ts";
import { fakeRing, type FakeSqe } from "./fake_ring.ts";
import { closeFd, eventFd, openAllOfLibc } from "./libc.ts";
import { PolledFd } from "./poller.ts";
import { registerEventFd } from "./register.ts";
import type { Ring } from "./ring.ts";
import { prepNop, prepUringCmd, setSqeFlags } from "./sqe.ts";
import { eachSeed } from "../tests/seeds.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

/** Reads all completions as [user data, result], in the order of arrival. */
function completions(ring: Ring): [number, number][] {
  const got: [number, number][] = [];
  for (let at = ring.peek(); at >= 0; at = ring.peek()) {
    got.push([ring.cqes[at], ring.cqes[at + 2]]);
    ring.seen();
  }
  return got;
}

/** Pushes `total` NOPs through the ring, with at most `depth` in flight. */
function pump(ring: Ring, total: number, depth: number): number[] {
  const seen: number[] = [];
  let sent = 0;
  for (let round = 0; seen.length < total; round++) {
    assertLess(round, total * 100, "the ring makes no progress");
    while (sent < total && sent - seen.length < depth && prepNop(ring, sent, 0) >= 0) sent++;
    // Wait for one of them and for all of them in turn.
    ring.enter(seen.length % 2 === 0 ? 1 : sent - seen.length);
    for (const [userData] of completions(ring)) seen.push(userData);
  }
  return seen;
}

Deno.test("Ring.enter counts past the 32-bit wrap of its indices", () => {
  for (const initialIndex of [2 ** 31 - 5, 2 ** 32 - 5]) {
    const { ring, kernel } = fakeRing({ entries: 8, cqEntries: 8, initialIndex });
    assertEquals(pump(ring, 101, 8), Array.from({ length: 101 }, (_, index) => index));
    assertEquals([ring.pending, kernel.inFlight], [0, 0]);
  }
});

Deno.test("Ring.next fills the whole queue across the wrap, and not one SQE more", () => {
  for (const initialIndex of [0, 2 ** 31 - 2, 2 ** 32 - 2]) {
    const { ring } = fakeRing({ entries: 4, initialIndex });
    const places = [0, 1, 2, 3].map((userData) => prepNop(ring, userData, 0));
    assertEquals(new Set(places).size, 4);
    assertEquals(ring.next(), -1);
    assertEquals(ring.pending, 4);
    assertEquals(ring.enter(4), 4);
    assertEquals(completions(ring).map(([userData]) => userData), [0, 1, 2, 3]);
  }
});

Deno.test("Ring.enter loses and repeats nothing under any fault, for many seeds", async (t) => {
  const faults: Required<FakeFaults> = {
    shortSubmit: 0.2,
    eintr: 0.5,
    eagain: 0.1,
    ebusy: 0.1,
    delay: 0.5,
    reorder: 0.3,
    earlyReturn: 0.2,
  };
  const struck: Record<string, number> = { ...new FaultDice().struck };
  const ran = await eachSeed(t, 50, (seed) => {
    const options = { entries: 16, cqEntries: 16, initialIndex: 2 ** 32 - 100, seed, faults };
    const { ring, kernel } = fakeRing(options);
    // Keep more in flight than the CQ holds, or so few that `enter` often has to wait.
    const seen = pump(ring, 500, seed % 2 === 0 ? 40 : 12);
    seen.sort((a, b) => a - b);
    assertEquals(seen, Array.from({ length: 500 }, (_, index) => index));
    for (const [fault, times] of Object.entries(kernel.dice.struck)) struck[fault] += times;
  });
  if (ran < 50) return;
  for (const [fault, times] of Object.entries(struck)) {
    assertGreater(times, 50, `${fault} hardly ever struck`);
  }
});

Deno.test("Ring.enter submits the rest after a short submission, in order", () => {
  const { ring, kernel } = fakeRing({ entries: 16, faults: { shortSubmit: 1 } });
  for (let userData = 0; userData < 16; userData++) prepNop(ring, userData, 0);
  const taken = ring.enter(16);
  assertLess(taken, 16);
  assertEquals(ring.pending, 16 - taken);
  // Refused SQEs stay in the queue: only as many are free as the kernel took.
  let free = 0;
  while (prepNop(ring, 16 + free, 0) >= 0) free++;
  assertEquals(free, taken);
  kernel.dice.faults = {};
  ring.enter(1);
  const expected = Array.from({ length: 16 + free }, (_, index) => index);
  assertEquals(completions(ring).map(([userData]) => userData), expected);
});

Deno.test("Ring.enter returns 0 and keeps what was not taken on EINTR, EAGAIN and EBUSY", () => {
  for (const fault of ["eagain", "ebusy"] as const) {
    const { ring, kernel } = fakeRing({ entries: 4, faults: { [fault]: 1 } });
    prepNop(ring, 7, 0);
    assertEquals(ring.enter(1), 0);
    assertEquals([ring.pending, ring.peek()], [1, -1]);
    kernel.dice.faults = {};
    assertEquals(ring.enter(1), 1);
    assertEquals(completions(ring), [[7, 0]]);
  }
  const { ring } = fakeRing({ entries: 4, faults: { eintr: 1 }, handler: () => {} });
  prepNop(ring, 7, 0);
  // If a wait is interrupted after submission, the kernel reports the submission.
  assertEquals(ring.enter(1), 1);
  assertEquals(ring.enter(1), 0);
  assertEquals(ring.pending, 0);
});

Deno.test("Ring.overflowed tells of completions that the kernel keeps, and enter fetches them", () => {
  const { ring } = fakeRing({ entries: 8, cqEntries: 4 });
  for (let userData = 0; userData < 8; userData++) prepNop(ring, userData, 0);
  assertEquals(ring.overflowed, false);
  ring.enter(4);
  assertEquals(ring.overflowed, true);
  const got = completions(ring);
  assertEquals(got.length, 4);
  ring.enter(0);
  assertEquals(ring.overflowed, false);
  got.push(...completions(ring));
  assertEquals(got.map(([userData]) => userData), [0, 1, 2, 3, 4, 5, 6, 7]);
});

Deno.test("Ring.enterTimeout returns when the time is up, and not before what is there", () => {
  const { ring, kernel } = fakeRing({ entries: 4, handler: () => {} });
  assertEquals(ring.enterTimeout(1, 2500), 0);
  assertEquals(kernel.waitedUs, 2500);
  prepNop(ring, 1, 0);
  assertEquals(ring.enterTimeout(1, 500), 1);
  assertEquals([kernel.waitedUs, ring.pending], [3000, 0]);
  kernel.complete(1, 0, 5);
  assertEquals(ring.enterTimeout(1, 500), 0);
  assertEquals(kernel.waitedUs, 3000);
  assertEquals(completions(ring), [[1, 5]]);
});

Deno.test("Ring.enter throws what no retry can cure", () => {
  const { ring, kernel } = fakeRing({ entries: 4 });
  kernel.close();
  const error = assertThrows(() => ring.enter(0), UblkError, "EBADF");
  assertEquals(error.errno, EBADF);
});

Deno.test("FakeKernel.enter throws instead of hanging, unless onIdle helps", () => {
  const { ring, kernel } = fakeRing({ entries: 4, handler: () => {} });
  prepNop(ring, 3, 0);
  ring.enter(0);
  assertThrows(() => ring.enter(1), Error, "the fake would hang: 1 in flight");
  kernel.onIdle = () => kernel.complete(3, 0, 9);
  ring.enter(1);
  assertEquals(completions(ring), [[3, 9]]);
});

Deno.test("FakeKernel hands each SQE over as it was when it was taken", () => {
  for (const sqe128 of [false, true]) {
    const taken: FakeSqe[] = [];
    const { ring } = fakeRing({ entries: 2, sqe128, handler: (sqe) => void taken.push(sqe) });
    const at = prepUringCmd(ring, 5, 0xc0107520, 42, 3);
    ring.sqes[at + 12] = 0x00070001;
    ring.enter(0);
    ring.sqes.fill(0);
    const [sqe] = taken;
    assertEquals([sqe.opcode, sqe.fd, sqe.cmdOp, sqe.userData, sqe.kind], [
      46,
      5,
      0xc0107520,
      42,
      3,
    ]);
    assertEquals([sqe.words.length, sqe.words[12]], [sqe128 ? 32 : 16, 0x00070001]);
  }
});

Deno.test("FakeKernel starts a linked SQE after its predecessor, or cancels it", () => {
  const started: number[] = [];
  const { ring, kernel } = fakeRing({ entries: 8, handler: (sqe) => started.push(sqe.userData) });
  for (const [userData, isLinked] of [[0, true], [1, true], [2, false], [3, false]] as const) {
    const at = prepNop(ring, userData, 0);
    if (isLinked) setSqeFlags(ring, at, IOSQE_IO_LINK);
  }
  assertEquals(ring.enter(0), 4);
  assertEquals(started, [0, 3]);
  kernel.complete(0, 0, 0);
  assertEquals(started, [0, 3, 1]);
  kernel.complete(1, 0, -EIO);
  assertEquals(started, [0, 3, 1]);
  ring.enter(3);
  assertEquals(completions(ring), [[0, 0], [1, -EIO], [2, -ECANCELED]]);
});

Deno.test("FakeKernel counts an SQE as in flight until its last completion", () => {
  const { ring, kernel } = fakeRing({ entries: 4, handler: () => {} });
  prepNop(ring, 1, 0);
  ring.enter(0);
  kernel.complete(1, 0, 1, IORING_CQE_F_MORE);
  kernel.complete(1, 0, 2);
  assertEquals(kernel.inFlight, 0);
  assertThrows(() => kernel.complete(1, 0, 3), Error, "in flight");
  ring.enter(2);
  assertEquals(completions(ring), [[1, 1], [1, 2]]);
});

Deno.test("FakeKernel gives the same faults for the same seed", () => {
  const run = (seed: number) => {
    const faults = { delay: 0.5, reorder: 0.5 };
    return pump(fakeRing({ entries: 16, seed, faults }).ring, 100, 16);
  };
  assertEquals(run(7), run(7));
  assert(run(7).join() !== run(8).join());
});

Deno.test("FakeKernel signals a registered eventfd until nothing is held back any more", async () => {
  const { ring, kernel } = fakeRing({ entries: 8, faults: { delay: 1 }, handler: () => {} });
  const fd = eventFd();
  try {
    await using signals = new PolledFd(fd);
    registerEventFd(ring, fd);
    for (let userData = 0; userData < 8; userData++) prepNop(ring, userData, 0);
    ring.enter(0);
    setTimeout(() => {
      for (let userData = 0; userData < 8; userData++) kernel.complete(userData, 0, 0);
    }, 5);
    let seen = 0;
    while (seen < 8) {
      await signals.wait();
      ring.enter(0);
      seen += completions(ring).length;
    }
    assertEquals(kernel.dice.struck.delay, 8);
  } finally {
    closeFd(fd);
  }
});

Deno.test("Ring.place submits a full queue first, and Ring.reserve only where room is lacking", () => {
  const { ring, kernel } = fakeRing({ entries: 4 });
  for (let userData = 0; userData < 4; userData++) assert(ring.place() >= 0);
  assertEquals([kernel.enters, ring.pending], [0, 4]);
  assertEquals([ring.place(), kernel.enters, ring.pending], [0, 1, 1]);
  ring.reserve(3);
  assertEquals([kernel.enters, ring.pending], [1, 1]);
  ring.reserve(4);
  assertEquals([kernel.enters, ring.pending], [2, 0]);
});

// A moment without memory used to end the thread.
Deno.test("Ring.reserve asks again where the kernel takes nothing, or not enough", () => {
  const faults = { eagain: 0.6, ebusy: 0.3, shortSubmit: 0.5 };
  const { ring } = fakeRing({ entries: 4, cqEntries: 1024, seed: 3, faults });
  for (let round = 0; round < 50; round++) {
    ring.reserve(3);
    assert(ring.pending <= 1);
    for (let count = 0; count < 3; count++) assert(ring.next() >= 0);
    completions(ring);
  }
});

// Regression: it asked a thousand times within some milliseconds, and then the device ended.
Deno.test("Ring.reserve + the kernel has no memory for a second + waits for it, in few calls", () => {
  const { ring, kernel } = fakeRing({ entries: 2, faults: { eagain: 1 } });
  const wait = kernel.enterTimeout.bind(kernel);
  kernel.enterTimeout = (...call) => {
    const result = wait(...call);
    if (kernel.waitedUs >= 1e6) kernel.dice.faults = {};
    return result;
  };
  ring.place();
  ring.reserve(2);
  assertEquals(ring.pending, 0);
  assertLess(kernel.enters, 1000);
});

// Regression: the kernel runs no completions of a call that it takes nothing of. Those whose requests it
// could have used again waited for good.
Deno.test("Ring.enter + the kernel has no memory + completions come all the same", () => {
  const { ring, kernel } = fakeRing({ entries: 2, handler: () => {} });
  prepNop(ring, 7, 0);
  ring.enter(0);
  kernel.complete(7, 0, 0);
  kernel.dice.faults = { eagain: 1 };
  prepNop(ring, 8, 0);
  assertEquals([ring.enter(1), ring.pending], [0, 1]);
  assertEquals(completions(ring), [[7, 0]]);
});

Deno.test("Ring.reserve throws where the kernel takes nothing any more", () => {
  const { ring } = fakeRing({ entries: 2, faults: { eagain: 1 } });
  ring.place();
  assertThrows(() => ring.reserve(2), Error, "the kernel takes no SQEs");
});

Deno.test("Ring.again + an SQE of nobody, or one that waits already + an assertion fails", () => {
  const { ring } = fakeRing({ entries: 8, ownSqes: 4 });
  assertThrows(() => ring.again(0), AssertionError, "has an owner");
  assertEquals(ring.own(4), 0);
  for (let time = 0; time < ring.sqEntries; time++) ring.again(time % 4);
  assertThrows(() => ring.again(0), AssertionError, "it was submitted before");
});

Deno.test("Ring.seen + more than was ready + an assertion fails", () => {
  const { ring } = fakeRing({ entries: 4 });
  assertThrows(() => ring.seen(), AssertionError, "CQEs were ready before");
});
