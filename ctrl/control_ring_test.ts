import {
  assert,
  assertEquals,
  assertGreaterOrEqual,
  assertLess,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { EFAULT, EOPNOTSUPP } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import {
  IORING_OP_ASYNC_CANCEL,
  IORING_OP_NOP,
  IORING_OP_READ,
  IORING_OP_URING_CMD,
} from "../uapi/io_uring_sqe.ts";
import { orphanCount } from "../uring/in_flight.ts";
import {
  addressOf,
  closeFd,
  eventFd,
  openAllOfLibc,
  openFile,
  signalEventFd,
} from "../uring/libc.ts";
import { openRing } from "../uring/open_ring.ts";
import { put64 } from "../uring/sqe.ts";
import { ADD_DEV, START_DEV, STOP_DEV } from "./commands.ts";
import { ControlRing, RING_OPTIONS } from "./control_ring.ts";
import { beginStep } from "./pace.ts";

const O_RDWR = 2;

// libc stays open. Open it here, because inside a test the sanitizer would report a leak.
openAllOfLibc();

/**
 * Makes a control ring on an ordinary kernel, with a fake driver that answers on request. Each
 * command becomes a read of an eventfd. It completes by task work, as a control command does, and
 * can be cancelled, as START_DEV can, unless the driver is stubborn.
 */
function silentDriver(options: { stubborn?: boolean } = {}) {
  const { ring } = openRing({ ...RING_OPTIONS, entries: 8 });
  const replies = eventFd();
  const memory = new BigUint64Array(1);
  const kernel = ring.kernel;
  const enter = kernel.enter.bind(kernel);
  const sqes = ring.sqes;
  kernel.enter = (toSubmit, minComplete, flags) => {
    for (let at = 0; at < sqes.length; at += ring.sqeWords) {
      const opcode = sqes[at] & 0xff;
      if (opcode === IORING_OP_URING_CMD) {
        sqes[at] = IORING_OP_READ;
        sqes[at + 1] = replies;
        put64(sqes, at + 2, 0);
        put64(sqes, at + 4, Number(addressOf(memory)));
        sqes[at + 6] = 8;
        sqes.fill(0, at + 10, at + ring.sqeWords);
      } else if (opcode === IORING_OP_ASYNC_CANCEL && options.stubborn) {
        sqes.fill(0, at, at + 8);
        sqes[at] = IORING_OP_NOP;
        sqes[at + 1] = -1;
      }
    }
    return enter(toSubmit, minComplete, flags);
  };
  return {
    kernel,
    control: new ControlRing(openFile("/dev/null", O_RDWR), ring),
    reply: () => signalEventFd(replies),
    [Symbol.dispose]: () => closeFd(replies),
  };
}

function openFds(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

/** Resolves once the kernel has answered every command: the answers come by a thread of Deno's pool. */
async function answered(control: ControlRing): Promise<void> {
  const until = performance.now() + 10_000;
  while (control.outstanding > 0) {
    assertLess(performance.now(), until, `${control.outstanding} commands are outstanding`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

const start = { command: START_DEV, values: { dev_id: 3 }, device: 3 };

Deno.test("ControlRing resolves with the kernel's negative answer", async () => {
  const path = Deno.makeTempFileSync();
  try {
    // A regular file accepts no commands.
    await using control = new ControlRing(openFile(path, O_RDWR));
    const buffer = new Uint8Array(64);
    assertEquals(await control.submit({ ...start, buffer }), -EOPNOTSUPP);
    assertEquals(control.outstanding, 0);
  } finally {
    Deno.removeSync(path);
  }
});

Deno.test("ControlRing resolves when the answer comes later", async () => {
  using driver = silentDriver();
  await using control = driver.control;
  const result = control.submit(start);
  setTimeout(driver.reply, 20);
  assertEquals(await result, 8);
  assertEquals(control.outstanding, 0);
});

Deno.test("ControlRing takes more commands than its ring has entries", async () => {
  using driver = silentDriver();
  await using control = driver.control;
  const results: number[] = [];
  const all = Array.from(
    { length: 50 },
    () => control.submit(start).then((res) => results.push(res)),
  );
  assertEquals(control.outstanding, 50);
  // A blocking eventfd gives the whole count to one reader, so each answer needs a signal.
  while (results.length < 50) {
    driver.reply();
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.all(all);
  assertEquals(results, Array(50).fill(8));
});

Deno.test("ControlRing gives up a command in its time, with one plain line", async () => {
  using driver = silentDriver();
  await using control = driver.control;
  const began = performance.now();
  const error = await assertRejects(() => control.submit(start, { timeoutMs: 50 }), UblkError);
  // Less than the command's own 10 s.
  assertLess(performance.now() - began, 9_000);
  assertEquals(error.code, "CONTROL_TIMEOUT");
  assertEquals(
    error.message,
    "START_DEV (device 3): the kernel did not answer within 0.05 s; it waits until every tag of " +
      "every queue is fetched: see whether a serving thread died or never started",
  );
  // The kernel accepted the cancellation, so nothing is outstanding.
  assertEquals(control.outstanding, 0);
});

// Regression: when eight devices started at once on a slow machine, one timed out after 10 s.
Deno.test("ControlRing gives a command its time once for each device that is at a step", async () => {
  using driver = silentDriver();
  await using control = driver.control;
  using steps = new DisposableStack();
  for (let step = 0; step < 4; step++) steps.use(beginStep());
  const request = { ...start, command: { ...START_DEV, timeoutMs: 60 } };
  const began = performance.now();
  await assertRejects(() => control.submit(request), UblkError, "within 0.24 s");
  assertGreaterOrEqual(performance.now() - began, 240);
  // An explicit time limit is not scaled.
  await assertRejects(() => control.submit(request, { timeoutMs: 30 }), UblkError, "within 0.03 s");
});

Deno.test("ControlRing gives a command more time for as long as its device gets on", async () => {
  using driver = silentDriver();
  await using control = driver.control;
  const began = performance.now();
  const progress = () => Math.min(200, performance.now() - began);
  const request = { ...start, command: { ...START_DEV, timeoutMs: 60 } };
  await assertRejects(() => control.submit(request, { progress }), UblkError, "within 0.06 s");
  assertGreaterOrEqual(performance.now() - began, 260);
  const result = control.submit(request, { progress: () => performance.now() });
  setTimeout(driver.reply, 250);
  assertEquals(await result, 8);
});

Deno.test("ControlRing holds what a stubborn kernel may still write to", async () => {
  using driver = silentDriver({ stubborn: true });
  await using control = driver.control;
  await assertRejects(() => control.submit(start, { timeoutMs: 20 }), UblkError, "within 0.02 s");
  assertEquals(control.outstanding, 1);
  driver.reply();
  await answered(control);
});

Deno.test("ControlRing serves on after a command that is never answered", async () => {
  using driver = silentDriver({ stubborn: true });
  await using control = driver.control;
  await assertRejects(() => control.submit(start, { timeoutMs: 20 }), UblkError);
  // By then the grace time is over.
  await new Promise((resolve) => setTimeout(resolve, 1200));
  assertEquals(control.outstanding, 1);
  const second = control.submit(start);
  driver.reply();
  // Reads are answered in order: the first signal answers the abandoned command.
  driver.reply();
  await new Promise((resolve) => setTimeout(resolve, 50));
  driver.reply();
  assertEquals(await second, 8);
  assertEquals(control.outstanding, 0);
});

Deno.test("ControlRing prefers an answer that is there to a timer that ran late", async () => {
  using driver = silentDriver();
  await using control = driver.control;
  const result = control.submit(start, { timeoutMs: 10 });
  driver.reply();
  const until = performance.now() + 60;
  while (performance.now() < until);
  assertEquals(await result, 8);
});

Deno.test("ControlRing gives up on an AbortSignal, before and after sending", async () => {
  using driver = silentDriver();
  await using control = driver.control;
  const early = AbortSignal.abort("enough");
  const first = await assertRejects(() => control.submit(start, { signal: early }), UblkError);
  assertEquals([first.code, first.cause], ["ABORTED", "enough"]);
  for (const command of [STOP_DEV, START_DEV]) {
    const controller = new AbortController();
    const request = { ...start, command };
    const result = control.submit(request, { signal: controller.signal });
    controller.abort();
    const second = await assertRejects(() => result, UblkError);
    assertEquals(second.code, "ABORTED");
    assertStringIncludes(second.message, `${command.name} (device 3)`);
    assertEquals(control.outstanding, 0);
  }
});

// Regression: a signal during START_DEV ended the threads while the kernel depended on them. Linux
// 6.12 then waited for ever for the disk's first read, and held the driver.
Deno.test("ControlRing gives up START_DEV only when the kernel has answered it", async () => {
  using driver = silentDriver({ stubborn: true });
  await using control = driver.control;
  for (const [command, outcome] of [[STOP_DEV, "gone"], [START_DEV, "waiting"]] as const) {
    const controller = new AbortController();
    const result = control.submit({ ...start, command }, { signal: controller.signal });
    controller.abort();
    const first = await Promise.race([
      result.catch(() => "gone"),
      new Promise((resolve) => setTimeout(() => resolve("waiting"), 50)),
    ]);
    assertEquals(first, outcome, command.name);
    driver.reply();
    // A command that was carried out before its cancellation must be undone by the caller.
    if (command === START_DEV) assertEquals(await result, 8);
    await answered(control);
  }
});

Deno.test("ControlRing does not wait for the answer to START_DEV longer than its time", async () => {
  using driver = silentDriver({ stubborn: true });
  await using control = driver.control;
  const controller = new AbortController();
  const result = control.submit(start, { signal: controller.signal, timeoutMs: 50 });
  controller.abort();
  assertEquals((await assertRejects(() => result, UblkError)).code, "ABORTED");
});

for (const stubborn of [false, true]) {
  const driverIs = stubborn ? "stubborn" : "ordinary";
  Deno.test(`ControlRing disposal does not hang on commands of a ${driverIs} kernel`, async () => {
    const [before, orphans] = [openFds(), orphanCount()];
    {
      using driver = silentDriver({ stubborn });
      const { control } = driver;
      const results = [
        control.submit(start),
        control.submit({ command: ADD_DEV, values: {}, buffer: new Uint8Array(64) }),
      ].map((result) => assertRejects(() => result, UblkError, "the control device was closed"));
      const began = performance.now();
      await control[Symbol.asyncDispose]();
      assertLess(performance.now() - began, 15_000);
      await Promise.all(results);
      // Only what the kernel does not let go of within the grace time is left to it.
      assertEquals(orphanCount() - orphans, stubborn ? results.length : 0);
      const late = await assertRejects(() => control.submit(start), UblkError);
      assertEquals(late.code, "ABORTED");
    }
    assertEquals(openFds(), before);
  });
}

Deno.test("ControlRing disposes at once too, and lets go of the thread that waits", async () => {
  const before = openFds();
  using driver = silentDriver({ stubborn: true });
  const result = assertRejects(() => driver.control.submit(start), UblkError);
  driver.control[Symbol.dispose]();
  driver.control[Symbol.dispose]();
  await result;
  // The second half only waits for the pool's thread.
  await driver.control[Symbol.asyncDispose]();
  assertEquals(openFds(), before + 1);
});

Deno.test("ControlRing fails every command when its ring fails", async () => {
  using driver = silentDriver();
  await using control = driver.control;
  const first = control.submit(start);
  driver.kernel.enter = () => -EFAULT;
  const second = await assertRejects(() => control.submit(start), UblkError);
  assertEquals(second.code, "SYSCALL_FAILED");
  await assertRejects(() => first, UblkError, "io_uring_enter");
  await assertRejects(() => control.submit(start), UblkError, "io_uring_enter");
});

Deno.test("ControlRing closes the descriptor it was given where no ring can be had", () => {
  const before = openFds();
  const { ring } = openRing({ entries: 8 });
  let thrown: unknown;
  try {
    new ControlRing(openFile("/dev/null", O_RDWR), ring);
  } catch (error) {
    thrown = error;
  }
  assert(thrown instanceof Error);
  assertStringIncludes(thrown.message, "128-byte SQEs");
  assertEquals(openFds(), before);
});

Deno.test("ControlRing keeps no idle process alive", async () => {
  const here = import.meta.resolve("./");
  const script = `
    import { ControlRing, RING_OPTIONS } from "${here}control_ring.ts";
    import { START_DEV } from "${here}commands.ts";
    import { openFile } from "${here}../uring/libc.ts";
    const control = new ControlRing(openFile("/dev/null", 2));
    console.log(await control.submit({ command: START_DEV, values: {} }));
  `;
  const command = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-lock", script],
    cwd: new URL("..", import.meta.url),
    signal: AbortSignal.timeout(20_000),
    stderr: "inherit",
  });
  const { success, stdout } = await command.output();
  // The answer of /dev/null depends on the kernel. The test is that the process ended.
  assert(/^-?\d+\n$/.test(new TextDecoder().decode(stdout)));
  assert(success);
});
