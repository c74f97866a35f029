import { assert, assertEquals, assertGreater, assertLess, assertRejects } from "@std/assert";
import { leastMs } from "../tests/least_ms.ts";
import { ECANCELED, EFAULT, EINTR } from "../uapi/errno.ts";
import { IORING_OP_ASYNC_CANCEL } from "../uapi/io_uring_sqe.ts";
import { type FakeHandler, fakeRing, type FakeRingOptions } from "./fake_ring.ts";
import { orphanCount } from "./in_flight.ts";
import { openAllOfLibc } from "./libc.ts";
import { openRing } from "./open_ring.ts";
import { PROMISE_RING_SETUP, PromiseRing } from "./promise_ring.ts";
import type { Patience, RingOperation } from "./ring_operation.ts";
import { prepNop } from "./sqe.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

/** An operation that the fake's handler identifies by its number. */
function operation(number = 0, memory?: unknown): RingOperation {
  return {
    memory,
    prepare(ring, id, kind) {
      const at = prepNop(ring, id, kind);
      if (at >= 0) ring.sqes[at + 6] = number;
      return at;
    },
    aborted: (reason) => new Error(`aborted: ${reason}`),
    closed: () => new Error("closed"),
  };
}

/** A time limit with an error of its own. */
function patience(firstMs: number): Patience {
  return { firstMs, until: () => 0, error: () => new Error("too late") };
}

/** A ring whose kernel completes nothing, and cancels operations unless it is stubborn. */
function silentRing({ stubborn = false, ...options }: Partial<
  FakeRingOptions & {
    stubborn: boolean;
  }
> = {}) {
  const kept: { userData: number; kind: number }[] = [];
  const handler: FakeHandler = (sqe, kernel) => {
    if (sqe.opcode !== IORING_OP_ASYNC_CANCEL) return void kept.push(sqe);
    const at = stubborn ? -1 : kept.findIndex(({ userData }) => userData === sqe.words[4]);
    for (const { userData, kind } of at < 0 ? [] : kept.splice(at, 1)) {
      kernel.complete(userData, kind, -ECANCELED);
    }
    kernel.complete(sqe.userData, sqe.kind, 0);
  };
  const { ring, kernel } = fakeRing({ entries: 8, handler, ...options });
  const answer = (result: number) => {
    const { userData, kind } = kept.shift()!;
    kernel.complete(userData, kind, result);
  };
  return { ring: new PromiseRing(ring), kernel, kept, answer };
}

function openFds(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

const turn = () => new Promise((resolve) => setTimeout(resolve));

Deno.test("PromiseRing.submit + many in one turn + go to the kernel in one call", async () => {
  const { ring: bare, kernel } = fakeRing({ entries: 64 });
  await using ring = new PromiseRing(bare);
  const results = Array.from({ length: 40 }, () => ring.submit(operation()));
  assertEquals(kernel.enters, 0);
  assertEquals(await Promise.all(results), Array(40).fill(0));
  assertEquals(kernel.enters, 1);
  assertEquals(ring.outstanding, 0);
});

for (let seed = 1; seed <= 30; seed++) {
  Deno.test(`PromiseRing.submit + 300 on 8 entries, seed ${seed} + each has its own result`, async () => {
    const faults = {
      ...{ shortSubmit: 0.2, eagain: 0.02, ebusy: 0.02, delay: 0.3, reorder: 0.5 },
    };
    const handler: FakeHandler = (sqe, kernel) => {
      kernel.complete(sqe.userData, sqe.kind, sqe.words[6]);
    };
    const { ring: bare, kernel } = fakeRing({ entries: 8, seed, faults, handler });
    await using ring = new PromiseRing(bare);
    const numbers = Array.from({ length: 300 }, (_, nth) => nth * 7);
    const results = await Promise.all(numbers.map((number) => ring.submit(operation(number))));
    assertEquals(results, numbers);
    assertEquals(ring.outstanding, 0);
    assertGreater(kernel.dice.struck.delay + kernel.dice.struck.shortSubmit, 0);
  });
}

Deno.test("PromiseRing.submit + a kernel without memory for it + is offered again by itself", async () => {
  const { ring: bare, kernel } = fakeRing({ entries: 8, faults: { eagain: 1 } });
  await using ring = new PromiseRing(bare);
  const result = ring.submit(operation());
  await turn();
  assertGreater(kernel.dice.struck.eagain, 0);
  // The kernel is asked only after pauses.
  assertLess(kernel.dice.struck.eagain, 10);
  kernel.dice.faults = {};
  assertEquals(await result, 0);
});

Deno.test("PromiseRing.submit + beside a wait without end + is offered again, and has its deadline", async () => {
  const { ring, kernel, kept } = silentRing();
  await using _ = ring;
  const endless = ring.submit(operation());
  await turn();
  kernel.dice.faults = { eagain: 1 };
  const result = ring.submit(operation());
  await turn();
  kernel.dice.faults = {};
  const limitMs = performance.now() + 60_000;
  while (kept.length < 2 && performance.now() < limitMs) await turn();
  assertEquals(kept.length, 2);
  const late = ring.submit(operation(), { patience: patience(20) });
  let timer: ReturnType<typeof setTimeout> | undefined;
  const never = new Promise((resolve) => timer = setTimeout(resolve, 60_000));
  await assertRejects(() => Promise.race([late, never]), Error, "too late");
  clearTimeout(timer);
  for (const one of [endless, result]) one.catch(() => {});
});

Deno.test("PromiseRing.submit + a real ring + thousands at once have their results", async () => {
  const { ring: real } = openRing({ entries: 16, setupFlags: PROMISE_RING_SETUP });
  await using ring = new PromiseRing(real);
  const results = await Promise.all(
    Array.from({ length: 5000 }, () => ring.submit(operation())),
  );
  assertEquals(results.every((result) => result === 0), true);
});

Deno.test("PromiseRing + given up at its deadline + is outstanding until the kernel answers", async () => {
  const { ring, answer } = silentRing({ stubborn: true });
  await using _ = ring;
  const result = ring.submit(operation(), { patience: patience(20) });
  await assertRejects(() => result, Error, "too late");
  assertEquals(ring.outstanding, 1);
  answer(7);
  while (ring.outstanding > 0) await turn();
});

Deno.test("PromiseRing + deadline + is asked for more time, and then ends it", async () => {
  const { ring } = silentRing();
  await using _ = ring;
  const beganMs = performance.now();
  let asked = 0;
  const generous: Patience = {
    firstMs: 20,
    until: (nowMs) => ++asked < 3 ? nowMs + 20 : nowMs,
    error: () => new Error("enough"),
  };
  await assertRejects(() => ring.submit(operation(), { patience: generous }), Error, "enough");
  assertEquals(asked, 3);
  assertGreater(performance.now() - beganMs, 55);
  assertEquals(ring.outstanding, 0);
});

for (const givesUp of ["at-once", "unless-aborted", "never"] as const) {
  Deno.test(`PromiseRing + ${givesUp} + signal, a kernel that does not cancel`, async () => {
    const { ring, answer } = silentRing({ stubborn: true });
    await using _ = ring;
    const controller = new AbortController();
    const result = ring.submit(operation(), { signal: controller.signal, givesUp });
    let outcome = "waits";
    result.then((res) => outcome = `${res}`, (error) => outcome = error.message);
    await turn();
    controller.abort("enough");
    await turn();
    assertEquals(outcome, givesUp === "at-once" ? "aborted: enough" : "waits");
    answer(7);
    while (ring.outstanding > 0) await turn();
    // An operation that completed before its cancellation keeps its result.
    assertEquals(outcome, givesUp === "at-once" ? "aborted: enough" : "7");
  });

  Deno.test(`PromiseRing + ${givesUp} + signal, a kernel that cancels`, async () => {
    const { ring } = silentRing();
    await using _ = ring;
    const controller = new AbortController();
    const result = ring.submit(operation(), { signal: controller.signal, givesUp });
    await turn();
    controller.abort("enough");
    await assertRejects(() => result, Error, "aborted: enough");
    assertEquals(ring.outstanding, 0);
    const again = ring.submit(operation(), { signal: controller.signal, givesUp });
    await assertRejects(() => again, Error, "aborted: enough");
  });

  Deno.test(`PromiseRing + ${givesUp} + closing, a kernel that cancels`, async () => {
    const [before, orphans] = [openFds(), orphanCount()];
    // Half of the grace time, which is only for a kernel that does not cancel.
    const enoughMs = 500;
    const least = await leastMs(enoughMs, async () => {
      const { ring } = silentRing();
      const results = Array.from({ length: 50 }, () => ring.submit(operation(), { givesUp }));
      const all = results.map((result) => assertRejects(() => result, Error, "closed"));
      const beganMs = performance.now();
      await ring[Symbol.asyncDispose]();
      await Promise.all(all);
      const tookMs = performance.now() - beganMs;
      assertEquals(ring.outstanding, 0);
      await assertRejects(() => ring.submit(operation()), Error, "closed");
      assertEquals([openFds(), orphanCount()], [before, orphans]);
      return tookMs;
    });
    assertLess(least, enoughMs);
  });

  Deno.test(`PromiseRing + ${givesUp} + closing, a kernel that does not cancel`, async () => {
    const orphans = orphanCount();
    const { ring } = silentRing({ stubborn: true });
    const result = ring.submit(operation(), { givesUp });
    let outcome = "unsettled";
    result.then((res) => outcome = `${res}`, (error) => outcome = error.message);
    await turn();
    const beganMs = performance.now();
    await ring[Symbol.asyncDispose]();
    // The grace time is one second. Without it this would hang.
    assertLess(performance.now() - beganMs, 15_000);
    // The memory may be reused only after the Promise has settled.
    assertEquals(outcome, givesUp === "never" ? "unsettled" : "closed");
    assertEquals(orphanCount(), orphans + 1);
  });
}

Deno.test("PromiseRing + never + a deadline + only asks the kernel to cancel", async () => {
  const { ring, answer } = silentRing({ stubborn: true });
  await using _ = ring;
  const result = ring.submit(operation(), { patience: patience(10), givesUp: "never" });
  let isSettled = false;
  result.finally(() => isSettled = true);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assertEquals(isSettled, false);
  answer(7);
  assertEquals(await result, 7);
});

Deno.test("PromiseRing + never + closing + an operation that was done is done", async () => {
  const { ring, kept, kernel } = silentRing({ stubborn: true });
  const result = ring.submit(operation(), { givesUp: "never" });
  await turn();
  const closed = ring[Symbol.asyncDispose]();
  const { userData, kind } = kept.shift()!;
  kernel.complete(userData, kind, 512);
  await closed;
  assertEquals(await result, 512);
});

Deno.test("PromiseRing + what the queue has no room for + is given up without the kernel", async () => {
  const { ring, kernel, kept } = silentRing({ entries: 8 });
  kernel.dice.faults = { eagain: 1 };
  const controller = new AbortController();
  const { signal } = controller;
  const results = Array.from(
    { length: 20 },
    () => ring.submit(operation(), { signal, givesUp: "never" }),
  );
  const settled = Promise.allSettled(results);
  await turn();
  controller.abort("enough");
  // The first eight operations have SQEs, which the kernel may take at any time.
  assertEquals(ring.outstanding, 8);
  kernel.dice.faults = {};
  await ring[Symbol.asyncDispose]();
  assertEquals(kept.length, 0);
  for (const one of await settled) assertEquals(one.status, "rejected");
});

Deno.test("PromiseRing + EINTR + is a result, unless it is closed", async () => {
  const { ring, answer } = silentRing();
  await using _ = ring;
  const result = ring.submit(operation());
  await turn();
  answer(-EINTR);
  assertEquals(await result, -EINTR);
});

Deno.test("PromiseRing + a ring that fails + rejects all that hands no memory back", async () => {
  const { ring, kernel } = silentRing();
  await using _ = ring;
  const first = ring.submit(operation());
  let isSettled = false;
  ring.submit(operation(), { givesUp: "never" }).finally(() => isSettled = true).catch(() => {});
  await turn();
  kernel.enter = () => -EFAULT;
  await assertRejects(() => ring.submit(operation()), Error, "io_uring_enter");
  await assertRejects(() => first, Error, "io_uring_enter");
  await assertRejects(() => ring.submit(operation()), Error, "io_uring_enter");
  assertEquals(isSettled, false);
});

Deno.test("PromiseRing + a ring that cannot signal + is closed", () => {
  const before = openFds();
  const { ring, kernel } = fakeRing({ entries: 8 });
  kernel.onRegister = () => -EFAULT;
  let thrown: unknown;
  try {
    new PromiseRing(ring);
  } catch (error) {
    thrown = error;
  }
  assert(thrown instanceof Error);
  assert(kernel.closed);
  assertEquals(openFds(), before);
});
