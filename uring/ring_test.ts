import { assert, assertEquals, assertGreaterOrEqual, assertLess, assertThrows } from "@std/assert";
import { ECANCELED, ENOMEM, ETIME } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { IOSQE_IO_LINK } from "../uapi/io_uring_sqe.ts";
import { fakeRing } from "./fake_ring.ts";
import { closeFd, eventFd, monotonicUs, openAllOfLibc, signalEventFd } from "./libc.ts";
import { Mapping, PAGE_BYTES } from "./mapping.ts";
import { openRing, type RingOptions, SETUP_STEPS } from "./open_ring.ts";
import type { Ring } from "./ring.ts";
import { prepCancel, prepNop, prepRead, prepTimeout } from "./sqe.ts";

// Tests on the running kernel. Conditions that it cannot be forced into (short submissions, indices
// near 2^32) are tested in fake_ring_test.ts.

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

function open(options: RingOptions): Ring {
  return openRing(options).ring;
}

interface Cqe {
  userData: number;
  kind: number;
  res: number;
}

function completions(ring: Ring): Cqe[] {
  const got: Cqe[] = [];
  for (let at = ring.peek(); at >= 0; at = ring.peek()) {
    got.push({ userData: ring.cqes[at], kind: ring.cqes[at + 1], res: ring.cqes[at + 2] });
    ring.seen();
  }
  return got;
}

/** Waits for `count` completions, at most ten seconds. */
function collect(ring: Ring, count: number): Cqe[] {
  const got = completions(ring);
  const endUs = monotonicUs() + 10e6;
  while (got.length < count) {
    assertLess(monotonicUs(), endUs, `${got.length} of ${count} completions came`);
    ring.enterTimeout(1, 1e6);
    got.push(...completions(ring));
  }
  return got;
}

/** A mapping with a `struct __kernel_timespec` at its start. */
function timespec(us: number): Mapping {
  const mapping = Mapping.anonymous(PAGE_BYTES);
  const words = new BigInt64Array(mapping.buffer(0, 16));
  words[0] = BigInt(Math.floor(us / 1e6));
  words[1] = BigInt((us % 1e6) * 1e3);
  return mapping;
}

Deno.test("Ring.enter carries user data both ways whole, and NOP completes with 0", () => {
  using ring = open({ entries: 8 });
  const values = [[0, 0], [1, -1], [-1, 2], [0x7fffffff, -0x80000000]];
  for (const [userData, kind] of values) prepNop(ring, userData, kind);
  assertEquals(ring.pending, 4);
  assertEquals(ring.enter(4), 4);
  assertEquals(ring.pending, 0);
  const expected = values.map(([userData, kind]) => ({ userData, kind, res: 0 }));
  assertEquals(completions(ring), expected);
  assertEquals(ring.peek(), -1);
});

for (const [index, setupFlags] of SETUP_STEPS.entries()) {
  Deno.test(`Ring completes each of 100,000 NOPs once, with SETUP_STEPS[${index}]`, () => {
    using ring = open({ entries: 32, setupFlags });
    const TOTAL = 100_000;
    const seen = new Uint8Array(TOTAL);
    let sent = 0;
    let received = 0;
    while (received < TOTAL) {
      // Use batches of changing size, so that positions in the queues shift.
      for (let batch = 1 + sent % 31; batch > 0 && sent < TOTAL; batch--) {
        if (prepNop(ring, sent, 0) < 0) break;
        sent++;
      }
      ring.enter(1);
      for (let at = ring.peek(); at >= 0; at = ring.peek()) {
        seen[ring.cqes[at]]++;
        received++;
        ring.seen();
      }
    }
    assertEquals(seen, new Uint8Array(TOTAL).fill(1));
    assertEquals([sent, ring.pending, ring.peek()], [TOTAL, 0, -1]);
  });
}

Deno.test("Ring.next returns -1 when every SQE is filled, until enter has taken some", () => {
  using ring = open({ entries: 4 });
  for (let userData = 0; userData < 4; userData++) assert(prepNop(ring, userData, 0) >= 0);
  assertEquals(prepNop(ring, 4, 0), -1);
  assertEquals(ring.enter(0), 4);
  assert(prepNop(ring, 4, 0) >= 0);
  ring.enter(0);
  assertEquals(collect(ring, 5).map(({ userData }) => userData), [0, 1, 2, 3, 4]);
});

Deno.test("Ring.enter fetches every completion after the CQ overflowed", () => {
  using ring = open({ entries: 64, cqEntries: 64 });
  const TOTAL = 64 * 5;
  assertEquals(ring.overflowed, false);
  let sent = 0;
  for (let tries = 0; sent < TOTAL; tries++) {
    assertLess(tries, 1000, "the kernel takes no more");
    while (sent < TOTAL && prepNop(ring, sent, 0) >= 0) sent++;
    ring.enter(0);
  }
  assertEquals(ring.overflowed, true);
  assertEquals(collect(ring, TOTAL).map(({ userData }) => userData), [...Array(TOTAL).keys()]);
  ring.enter(0);
  assertEquals([ring.overflowed, ring.peek()], [false, -1]);
});

Deno.test("Ring holds thousands of requests in flight at once", () => {
  const COUNT = 4096;
  using ring = open({ entries: COUNT, cqEntries: COUNT });
  const fd = eventFd();
  using buffer = Mapping.anonymous(pageFor(COUNT * 8));
  try {
    for (let index = 0; index < COUNT; index++) {
      assert(prepRead(ring, fd, buffer.address + index * 8, 8, 0, index, 0) >= 0);
    }
    assertEquals(ring.enter(0), COUNT);
    assertEquals(ring.peek(), -1);
    // Each signal completes one read.
    for (let index = 0; index < COUNT; index++) {
      signalEventFd(fd);
      const [cqe] = collect(ring, 1);
      assertEquals(cqe.res, 8);
      if (index === 9) break;
    }
    prepCancelAll(ring, fd, COUNT);
    const rest = collect(ring, COUNT - 10 + 1);
    const cancelled = rest.filter(({ res, kind }) => kind === 0 && res === -ECANCELED);
    assertEquals(cancelled.length, COUNT - 10);
    assertEquals(new Set(cancelled.map(({ userData }) => userData)).size, COUNT - 10);
  } finally {
    closeFd(fd);
  }
});

function pageFor(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
}

/** Cancels everything on a descriptor; completes with kind 1 and the number. */
function prepCancelAll(ring: Ring, fd: number, expected: number): void {
  const IORING_ASYNC_CANCEL_ALL = 1;
  const IORING_ASYNC_CANCEL_FD = 2;
  const at = prepCancel(ring, 0, 0, expected, 1);
  ring.sqes[at + 1] = fd;
  ring.sqes[at + 7] = IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_FD;
}

Deno.test("prepCancel ends the request with those user data, and no other", () => {
  using ring = open({ entries: 8 });
  const fd = eventFd();
  using buffer = Mapping.anonymous(PAGE_BYTES);
  try {
    prepRead(ring, fd, buffer.address, 8, 0, 1, 5);
    prepRead(ring, fd, buffer.address, 8, 0, 2, 5);
    prepRead(ring, fd, buffer.address, 8, 0, 1, 6);
    ring.enter(0);
    prepCancel(ring, 1, 6, 9, 0);
    const got = collect(ring, 2).sort((a, b) => a.userData - b.userData);
    assertEquals(got, [
      { userData: 1, kind: 6, res: -ECANCELED },
      { userData: 9, kind: 0, res: 0 },
    ]);
    signalEventFd(fd);
    // The two others keep waiting. The kernel chooses the one that gets the signal.
    assertEquals(collect(ring, 1).map(({ kind, res }) => [kind, res]), [[5, 8]]);
  } finally {
    // Closing the ring cancels the last read.
    closeFd(fd);
  }
});

Deno.test("prepTimeout completes with -ETIME after its time, or with 0 after so many others", () => {
  using ring = open({ entries: 8 });
  using soon = timespec(30_000);
  using late = timespec(60e6);
  const startUs = monotonicUs();
  prepTimeout(ring, soon.address, 0, 1, 0);
  ring.enter(1);
  assertGreaterOrEqual(monotonicUs() - startUs, 30_000);
  assertEquals(completions(ring), [{ userData: 1, kind: 0, res: -ETIME }]);
  prepTimeout(ring, late.address, 1, 2, 0);
  ring.enter(0);
  prepNop(ring, 3, 0);
  const got = collect(ring, 2).sort((a, b) => a.userData - b.userData);
  assertEquals(got.map(({ userData, res }) => [userData, res]), [[2, 0], [3, 0]]);
});

Deno.test("Ring.enterTimeout returns 0 when the time is up, and not before", () => {
  using ring = open({ entries: 8 });
  // Times above and below one second: seconds and nanoseconds are passed separately.
  for (const us of [500, 20_000, 1_010_000]) {
    const startUs = monotonicUs();
    assertEquals(ring.enterTimeout(1, us), 0);
    const passedUs = monotonicUs() - startUs;
    assertGreaterOrEqual(passedUs, us);
    assertLess(passedUs, us + 10e6);
  }
});

Deno.test("Ring.enterTimeout works when V8 has compiled it, too", () => {
  // Regression: the argument's size was declared as 32 bits. V8's fast calls leave the upper half
  // of its stack slot unwritten, so after a few thousand calls the kernel returned EINVAL.
  using ring = open({ entries: 8 });
  for (let time = 0; time < 20_000; time++) {
    prepNop(ring, time, 0);
    assertEquals(ring.enterTimeout(1, 1e6), 1);
    assertEquals(completions(ring)[0].userData, time);
  }
});

Deno.test("Ring.enterTimeout submits first, and returns as soon as there is enough", () => {
  using ring = open({ entries: 8 });
  const startUs = monotonicUs();
  prepNop(ring, 1, 0);
  assertEquals(ring.enterTimeout(1, 30e6), 1);
  assertEquals(collect(ring, 1).length, 1);
  // Too few completions: the result is the number of submitted SQEs, not the timeout.
  prepNop(ring, 2, 0);
  assertEquals(ring.enterTimeout(2, 10_000), 1);
  assertEquals([ring.pending, collect(ring, 1)[0].userData], [0, 2]);
  assertLess(monotonicUs() - startUs, 10e6);
});

Deno.test("Ring.enter wakes for a signal from another thread", async () => {
  using ring = open({ entries: 8 });
  const fd = eventFd();
  using buffer = Mapping.anonymous(PAGE_BYTES);
  const url = new URL("./libc.ts", import.meta.url).href;
  const source = `import { signalEventFd } from ${JSON.stringify(url)};
    self.onmessage = ({ data: [fd, shared] }) => {
      self.postMessage("ready");
      // Wait until the other thread is about to enter the kernel.
      Atomics.wait(new Int32Array(shared), 0, 0);
      signalEventFd(fd);
    };`;
  const blob = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Worker(blob, { type: "module" });
  try {
    const shared = new SharedArrayBuffer(4);
    await new Promise((resolve, reject) => {
      worker.onmessage = resolve;
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage([fd, shared]);
    });
    prepRead(ring, fd, buffer.address, 8, 0, 7, 0);
    const words = new Int32Array(shared);
    Atomics.store(words, 0, 1);
    Atomics.notify(words, 0);
    assertEquals(collect(ring, 1), [{ userData: 7, kind: 0, res: 8 }]);
  } finally {
    worker.terminate();
    URL.revokeObjectURL(blob);
    closeFd(fd);
  }
});

Deno.test("Ring.enterTimeout returns 0 when a signal interrupts it, and goes on after", async () => {
  using ring = open({ entries: 8 });
  // Without a listener the signal is ignored, and would interrupt nothing; nor does one that comes
  // after the listener has gone do harm.
  const hear = () => {};
  Deno.addSignalListener("SIGWINCH", hear);
  // The kernel delivers a signal to the thread whose id it was sent to, if that thread accepts it.
  const tid = Deno.readLinkSync("/proc/thread-self").split("/").pop();
  // Again and again: the first ones may come before the wait.
  const script = `while sleep 0.2; do kill -WINCH ${tid}; done`;
  const killer = new Deno.Command("sh", { args: ["-c", script] }).spawn();
  try {
    const startUs = monotonicUs();
    assertEquals(ring.enterTimeout(1, 20e6), 0);
    assertLess(monotonicUs() - startUs, 15e6, "no signal interrupted the wait");
    prepNop(ring, 1, 0);
    assertEquals(collect(ring, 1)[0].userData, 1);
  } finally {
    killer.kill("SIGKILL");
    await killer.status;
    Deno.removeSignalListener("SIGWINCH", hear);
  }
});

Deno.test("Ring.again queues an SQE of one's own as it was filled, among others and in order", () => {
  using ring = openRing({ entries: 8, ownSqes: 3 }).ring;
  const first = ring.own(3);
  assertEquals([first, ring.own(1)], [0, -1]);
  for (let index = 0; index < 3; index++) {
    const at = ring.wordOf(first + index);
    ring.sqes.fill(0, at, at + ring.sqeWords);
    ring.sqes[at + 9] = 100 + index;
  }
  for (let round = 0; round < 40; round++) {
    // More than there are shared SQEs, so that those are reused too.
    const kinds: number[] = [];
    for (const index of [2, 0, 1]) {
      prepNop(ring, round, index);
      ring.sqes[ring.again(first + index) + 8] = round;
      kinds.push(index, 100 + index);
    }
    assertEquals(ring.enter(6), 6);
    const expected = kinds.map((kind) => ({ userData: round, kind, res: 0 }));
    assertEquals(completions(ring), expected);
  }
});

Deno.test("Ring.own has none where none were asked for, and a closed ring queues none", () => {
  const { ring } = openRing({ entries: 8 });
  assertEquals(ring.own(1), -1);
  ring[Symbol.dispose]();
  const other = openRing({ entries: 8, ownSqes: 1 }).ring;
  const index = other.own(1);
  other[Symbol.dispose]();
  assertThrows(() => other.again(index), Error, "the ring is open");
});

// The part that was taken would have run alone: an answer before the transfer of its data.
Deno.test("Ring.enter throws where the kernel took a part of a chain, and submits nothing more", () => {
  for (const [taken, ownSqes] of [[1, 0], [2, 0], [1, 2]]) {
    const { ring, kernel } = fakeRing({ entries: 8, ownSqes: ownSqes || undefined });
    const first = ring.own(ownSqes);
    for (let index = 0; index < 3; index++) {
      const at = ownSqes > index ? ring.again(first + index) : prepNop(ring, index, 0);
      ring.sqes[at] = index === 0 || index === 1 ? IOSQE_IO_LINK << 8 : 0;
    }
    kernel.enter = () => taken;
    const error = assertThrows(() => ring.enter(1), UblkError, "amid a chain");
    assertEquals(error.errno, ENOMEM);
    assertThrows(() => ring.enter(1), Error, "the ring is open");
    assertEquals(ring.next(), -1);
    ring[Symbol.dispose]();
  }
  const { ring, kernel } = fakeRing({ entries: 8 });
  for (let index = 0; index < 3; index++) prepNop(ring, index, 0);
  kernel.enter = () => 1;
  assertEquals([ring.enter(0), ring.pending], [1, 2]);
  ring[Symbol.dispose]();
});
