import { assert, assertEquals } from "@std/assert";
import {
  CONTROL_DEADLINE_MS,
  CONTROL_PROGRESS,
  CONTROL_STATE,
  createControlBlock,
  THREAD_IN_KERNEL,
  THREAD_IN_USER,
} from "../queue/control_block.ts";
import { watchThread } from "./watch.ts";

const DEADLINE_MS = 120;

/** Watches a thread that the test plays. */
function setUp(state: number) {
  const control = createControlBlock(DEADLINE_MS);
  const words = new Int32Array(control);
  words[CONTROL_STATE] = state;
  const startedMs = performance.now();
  const stuckAfterMs: number[] = [];
  const end = watchThread(control, () => stuckAfterMs.push(performance.now() - startedMs));
  return { words, stuckAfterMs, [Symbol.dispose]: end };
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

Deno.test("watchThread reports a thread that gets nothing done for a deadline, once and not before", async () => {
  using it = setUp(THREAD_IN_USER);
  await sleep(6 * DEADLINE_MS);
  assertEquals(it.stuckAfterMs.length, 1);
  assert(it.stuckAfterMs[0] > DEADLINE_MS, `after ${it.stuckAfterMs} ms`);
});

Deno.test("watchThread raises no false alarm for a thread that waits in the kernel", async () => {
  using it = setUp(THREAD_IN_KERNEL);
  await sleep(4 * DEADLINE_MS);
  assertEquals(it.stuckAfterMs, []);
  // Back from a long wait it has the whole deadline before it.
  Atomics.store(it.words, CONTROL_STATE, THREAD_IN_USER);
  await sleep(DEADLINE_MS / 2);
  assertEquals(it.stuckAfterMs, []);
});

Deno.test("watchThread raises no false alarm for a thread that gets on, however slowly", async () => {
  using it = setUp(THREAD_IN_USER);
  for (let step = 0; step < 12; step++) {
    await sleep(DEADLINE_MS / 3);
    Atomics.add(it.words, CONTROL_PROGRESS, 1);
  }
  assertEquals(it.stuckAfterMs, []);
});

Deno.test("watchThread goes by the deadline of the moment: a drain shortens it, and it may grow", async () => {
  using it = setUp(THREAD_IN_USER);
  Atomics.store(it.words, CONTROL_DEADLINE_MS, 100 * DEADLINE_MS);
  await sleep(3 * DEADLINE_MS);
  assertEquals(it.stuckAfterMs, []);
  Atomics.store(it.words, CONTROL_DEADLINE_MS, DEADLINE_MS);
  await sleep(2 * DEADLINE_MS);
  assertEquals(it.stuckAfterMs.length, 1);
});

Deno.test("watchThread is silent once it was ended", async () => {
  const it = setUp(THREAD_IN_USER);
  await sleep(DEADLINE_MS / 4);
  it[Symbol.dispose]();
  await sleep(3 * DEADLINE_MS);
  assertEquals(it.stuckAfterMs, []);
});
