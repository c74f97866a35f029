import { assert, assertEquals } from "@std/assert";
import {
  CONTROL_DEADLINE_MS,
  CONTROL_PROGRESS,
  CONTROL_STATE,
  createControlBlock,
  THREAD_IDLE,
  THREAD_IN_KERNEL,
  THREAD_IN_USER,
  wakeWatch,
} from "../queue/control_block.ts";
import { closeFd, eventFd, openAllOfLibc, resetEventFd, signalEventFd } from "../uring/libc.ts";
import { poolAtRest } from "../uring/poller.ts";
import { ProgressProbe, watchThread } from "./watch.ts";

// Opened for good, and before a test, whose sanitizer would call it a leak.
openAllOfLibc();

const DEADLINE_MS = 20_000;

/** A clock that stands still until it is moved on, in the place of the real one. */
class FakeClock implements Disposable {
  nowMs = 1000;
  readonly #real = [globalThis.setInterval, globalThis.clearInterval, performance.now] as const;
  #timer?: { run: () => void; periodMs: number; nextMs: number };

  constructor() {
    const start = (run: () => void, periodMs: number) => {
      this.#timer = { run, periodMs, nextMs: this.nowMs + periodMs };
      return 1;
    };
    globalThis.setInterval = start as unknown as typeof setInterval;
    globalThis.clearInterval = () => this.#timer = undefined;
    performance.now = () => this.nowMs;
  }

  /** Whether a timer runs. */
  get ticks(): boolean {
    return this.#timer !== undefined;
  }

  /** Lets time pass, with each tick of the one timer there is. */
  pass(ms: number): void {
    const end = this.nowMs + ms;
    while (this.#timer !== undefined && this.#timer.nextMs <= end) {
      this.nowMs = this.#timer.nextMs;
      this.#timer.nextMs += this.#timer.periodMs;
      this.#timer.run();
    }
    this.nowMs = end;
  }

  /** Lets time pass in which no timer runs; one that was due runs once, late. */
  standStill(ms: number): void {
    this.nowMs += ms;
    this.#timer?.run();
    if (this.#timer !== undefined) this.#timer.nextMs = this.nowMs + this.#timer.periodMs;
  }

  [Symbol.dispose](): void {
    [globalThis.setInterval, globalThis.clearInterval, performance.now] = this.#real;
  }
}

/** Watches a thread that the test plays. `stuckAfterMs` has an entry for each report. */
function setUp(state: number, completionsFd = -1) {
  const clock = new FakeClock();
  const control = createControlBlock(DEADLINE_MS);
  const words = new Int32Array(control);
  words[CONTROL_STATE] = state;
  const startedMs = clock.nowMs;
  const stuckAfterMs: number[] = [];
  let looks = 0;
  const onStuck = () => stuckAfterMs.push(clock.nowMs - startedMs);
  const end = watchThread({ control, completionsFd }, onStuck, () => looks++);
  return {
    ...{ clock, words, stuckAfterMs, end },
    looks: () => looks,
    async asleep(wanted: boolean) {
      while (clock.ticks === wanted) await new Promise((resolve) => setTimeout(resolve, 1));
    },
    /** The thread comes back from the kernel, works, and is idle for long. */
    async comesBack() {
      words[CONTROL_STATE] = THREAD_IN_USER;
      wakeWatch(words);
      await this.asleep(false);
      clock.pass(DEADLINE_MS / 2);
      Atomics.add(words, CONTROL_PROGRESS, 1);
      words[CONTROL_STATE] = THREAD_IDLE;
      clock.pass(100 * DEADLINE_MS);
    },
    [Symbol.dispose]() {
      end();
      clock[Symbol.dispose]();
    },
  };
}

Deno.test("watchThread reports a thread that gets nothing done for a deadline, once and not before", () => {
  using it = setUp(THREAD_IN_USER);
  it.clock.pass(10 * DEADLINE_MS);
  assertEquals(it.stuckAfterMs.length, 1);
  const [afterMs] = it.stuckAfterMs;
  assert(afterMs > DEADLINE_MS && afterMs <= 2 * DEADLINE_MS, `after ${afterMs} ms`);
});

Deno.test("watchThread raises no false alarm for a thread that waits in the kernel", () => {
  using it = setUp(THREAD_IN_KERNEL);
  it.clock.pass(100 * DEADLINE_MS);
  // Back from a long wait it has the whole deadline before it, less one look.
  Atomics.store(it.words, CONTROL_STATE, THREAD_IN_USER);
  it.clock.pass(0.75 * DEADLINE_MS);
  assertEquals(it.stuckAfterMs, []);
  it.clock.pass(DEADLINE_MS);
  assertEquals(it.stuckAfterMs.length, 1);
});

Deno.test("watchThread raises no false alarm for a thread that gets on, however slowly", () => {
  using it = setUp(THREAD_IN_USER);
  for (let step = 0; step < 50; step++) {
    it.clock.pass(0.75 * DEADLINE_MS);
    Atomics.add(it.words, CONTROL_PROGRESS, 1);
  }
  assertEquals(it.stuckAfterMs, []);
});

Deno.test("watchThread goes by the deadline of the moment", () => {
  using it = setUp(THREAD_IN_USER);
  Atomics.store(it.words, CONTROL_DEADLINE_MS, 10 * DEADLINE_MS);
  it.clock.pass(9 * DEADLINE_MS);
  assertEquals(it.stuckAfterMs, []);
  Atomics.store(it.words, CONTROL_DEADLINE_MS, 500);
  it.clock.pass(DEADLINE_MS / 2);
  assertEquals(it.stuckAfterMs.length, 1);
});

Deno.test("watchThread is silent once it was ended", () => {
  using it = setUp(THREAD_IN_USER);
  it.clock.pass(DEADLINE_MS / 2);
  it.end();
  it.clock.pass(10 * DEADLINE_MS);
  assertEquals(it.stuckAfterMs, []);
});

// After Ctrl-Z and `fg` the watch could look before the thread had run again, saw that a deadline
// had passed, and took a healthy device away.
Deno.test("watchThread raises no false alarm when the whole process stood still", () => {
  using it = setUp(THREAD_IN_USER);
  it.clock.pass(DEADLINE_MS / 2);
  it.clock.standStill(100 * DEADLINE_MS);
  Atomics.add(it.words, CONTROL_PROGRESS, 1);
  it.clock.pass(0.75 * DEADLINE_MS);
  assertEquals(it.stuckAfterMs, []);
});

// It looked four times per deadline at a device that had nothing to do.
Deno.test("watchThread sleeps while the thread is idle, and is awake again when it is not", async () => {
  using it = setUp(THREAD_IDLE);
  it.clock.pass(100 * DEADLINE_MS);
  assert(it.looks() <= 3, `${it.looks()} looks`);
  for (let round = 0; round < 3; round++) {
    await it.asleep(true);
    await it.comesBack();
  }
  assertEquals(it.stuckAfterMs, []);
  it.words[CONTROL_STATE] = THREAD_IN_USER;
  wakeWatch(it.words);
  await it.asleep(false);
  it.clock.pass(2 * DEADLINE_MS);
  assertEquals(it.stuckAfterMs.length, 1);
});

Deno.test("watchThread stays awake while the thread waits for operations", () => {
  using it = setUp(THREAD_IN_KERNEL);
  it.clock.pass(10 * DEADLINE_MS);
  // Each look wakes a thread whose operations have a deadline.
  assert(it.looks() >= 79, `${it.looks()} looks`);
});

// A thread that is stuck in other code than its backend's never comes to look at its requests.
Deno.test("watchThread reports an idle event loop that does not look at what has come", async () => {
  const completions = eventFd(true);
  using it = setUp(THREAD_IDLE, completions);
  it.clock.pass(100 * DEADLINE_MS);
  assert(it.looks() <= 3, `${it.looks()} looks`);
  for (let round = 0; round < 3; round++) {
    await it.asleep(true);
    signalEventFd(completions);
    await it.asleep(false);
    it.clock.pass(DEADLINE_MS / 2);
    Atomics.add(it.words, CONTROL_PROGRESS, 1);
    resetEventFd(completions);
    it.clock.pass(100 * DEADLINE_MS);
    await it.asleep(true);
    // A thread that blocks in the kernel has its completions without a signal.
    await it.comesBack();
  }
  assertEquals(it.stuckAfterMs, []);
  await it.asleep(true);
  signalEventFd(completions);
  await it.asleep(false);
  it.clock.pass(2 * DEADLINE_MS);
  assertEquals(it.stuckAfterMs.length, 1);
  closeFd(completions);
});

for (const kind of ["blocking thread", "event loop"]) {
  Deno.test(`watchThread + ${kind} + is silent once it was ended in its sleep`, async () => {
    const completions = eventFd(true);
    using it = setUp(THREAD_IDLE, kind === "event loop" ? completions : -1);
    it.clock.pass(DEADLINE_MS);
    await it.asleep(true);
    it.end();
    it.words[CONTROL_STATE] = THREAD_IN_USER;
    wakeWatch(it.words);
    signalEventFd(completions);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert(!it.clock.ticks);
    assertEquals(it.stuckAfterMs, []);
    await poolAtRest();
    closeFd(completions);
  });
}

Deno.test("ProgressProbe sees a thread that gets on, or waits in the kernel, and one that does neither", () => {
  const control = createControlBlock(DEADLINE_MS);
  const words = new Int32Array(control);
  const probe = new ProgressProbe({ control, completionsFd: -1 });
  words[CONTROL_STATE] = THREAD_IN_USER;
  assert(probe.advanced(), "there was no look before");
  assert(!probe.advanced());
  words[CONTROL_PROGRESS]++;
  assert(probe.advanced());
  assert(!probe.advanced());
  for (const waiting of [THREAD_IN_KERNEL, THREAD_IDLE]) {
    words[CONTROL_STATE] = waiting;
    assert(probe.advanced());
    assert(probe.advanced());
  }
});

Deno.test("ProgressProbe sees an idle event loop that does not look at what has come", () => {
  const control = createControlBlock(DEADLINE_MS);
  const completionsFd = eventFd(true);
  const probe = new ProgressProbe({ control, completionsFd });
  new Int32Array(control)[CONTROL_STATE] = THREAD_IDLE;
  probe.advanced();
  assert(probe.advanced());
  signalEventFd(completionsFd);
  assert(!probe.advanced());
  resetEventFd(completionsFd);
  assert(probe.advanced());
  closeFd(completionsFd);
});
