import { assert, assertEquals, assertGreaterOrEqual, assertRejects } from "@std/assert";
import { UblkError } from "../uapi/error.ts";
import { testLibc } from "../tests/libc.ts";
import { closeFd, eventFd, neutralizeFd, openAllOfLibc, signalEventFd } from "./libc.ts";
import { PolledFd } from "./poller.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

/** A polled eventfd, with cleanup. */
function polled() {
  const fd = eventFd();
  const signals = new PolledFd(fd);
  return {
    fd,
    signals,
    signal: () => signalEventFd(fd),
    async [Symbol.asyncDispose]() {
      await signals[Symbol.asyncDispose]();
      closeFd(fd);
    },
  };
}

/** Fails if the Promise does not settle, instead of hanging. */
async function within<T>(promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("it hangs")), 20_000);
  });
  return await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function isPending(promise: Promise<unknown>): Promise<boolean> {
  return await Promise.race([promise.then(() => false), sleep(30).then(() => true)]);
}

function descriptors(): string[] {
  return [...Deno.readDirSync("/proc/self/fd")].flatMap(({ name }) => {
    try {
      return [`${name} ${Deno.readLinkSync(`/proc/self/fd/${name}`)}`];
    } catch {
      // The descriptor of the folder itself.
      return [];
    }
  }).sort();
}

/** The epoll descriptors opened since `before`. */
function newEpolls(before: readonly string[]): number[] {
  const opened = descriptors().filter((one) => !before.includes(one));
  return opened.filter((one) => one.includes("eventpoll")).map((one) => Number(one.split(" ")[0]));
}

/** The threads of this process that wait on an epoll descriptor. */
function threadsAt(epoll: number): number[] {
  const SYS_epoll_wait = Deno.build.arch === "x86_64" ? 232 : 22;
  const call = `${SYS_epoll_wait} 0x${epoll.toString(16)} `;
  return [...Deno.readDirSync("/proc/self/task")].flatMap(({ name }) => {
    try {
      const isThere = Deno.readTextFileSync(`/proc/self/task/${name}/syscall`).startsWith(call);
      return isThere ? [Number(name)] : [];
    } catch {
      // A thread of the pool that has ended meanwhile.
      return [];
    }
  });
}

// Each wait used to block one of the 32 threads of Deno's pool. The 33rd device of a process never
// worked, and no file could be read any more.
Deno.test("PolledFd: many wait, each for its own signal, and files are read meanwhile", async () => {
  await using stack = new AsyncDisposableStack();
  const all = Array.from({ length: 100 }, () => stack.use(polled()));
  const woken: number[] = [];
  const waits = all.map(({ signals }, index) => signals.wait().then(() => woken.push(index)));
  await within(Promise.all(Array.from({ length: 40 }, () => Deno.readTextFile("/proc/self/stat"))));
  assertEquals(woken, []);
  for (const index of [70, 3, 99]) {
    all[index].signal();
    await within(waits[index]);
  }
  assertEquals(woken, [70, 3, 99]);
  for (const { signal } of all) signal();
  await within(Promise.all(waits));
  assertEquals(woken.length, 100);
});

Deno.test("PolledFd.wait resolves at once with a signal from before, of any number one time", async () => {
  const fd = eventFd();
  signalEventFd(fd);
  await using signals = new PolledFd(fd);
  await within(signals.wait());
  const waiting = signals.wait();
  assert(await isPending(waiting));
  signalEventFd(fd);
  await within(waiting);
  signalEventFd(fd);
  signalEventFd(fd);
  await within(signals.wait());
  assert(await isPending(signals.wait()));
  signals[Symbol.dispose]();
  closeFd(fd);
});

Deno.test("PolledFd.wait resolves when its time is over, also where others wait longer", async () => {
  await using first = polled();
  await using second = polled();
  const long = first.signals.wait();
  const longer = second.signals.wait(60_000);
  await sleep(20);
  await using third = polled();
  const began = performance.now();
  await within(third.signals.wait(50));
  assertGreaterOrEqual(performance.now() - began, 50);
  await within(third.signals.wait(-5));
  assert(await isPending(Promise.race([long, longer])));
});

Deno.test("PolledFd.wake ends the wait, or the next one", async () => {
  await using it = polled();
  const waiting = it.signals.wait();
  it.signals.wake();
  await within(waiting);
  it.signals.wake();
  await within(it.signals.wait());
  assert(await isPending(it.signals.wait()));
});

Deno.test("PolledFd disposal ends the wait, and the number may be another's at once", async () => {
  // Both share one epoll descriptor.
  await using _other = polled();
  const fd = eventFd();
  const old = new PolledFd(fd);
  const waiting = old.wait();
  await sleep(20);
  // The event is pending when its descriptor is removed.
  signalEventFd(fd);
  old[Symbol.dispose]();
  old[Symbol.dispose]();
  closeFd(fd);
  await using next = polled();
  assertEquals(next.fd, fd);
  await within(waiting);
  const wait = next.signals.wait();
  assert(await isPending(wait));
  next.signal();
  await within(wait);
  await within(old.wait());
});

Deno.test("PolledFd has one thread wait for all, and leaves none and no descriptor behind", async () => {
  const before = descriptors();
  {
    await using first = polled();
    await using second = polled();
    const waits = [first.signals.wait(), second.signals.wait(1000)];
    const [epoll, ...others] = newEpolls(before);
    assertEquals(others, []);
    while (threadsAt(epoll).length === 0) await sleep(5);
    assertEquals(threadsAt(epoll).length, 1);
    first.signal();
    await within(waits[0]);
  }
  assertEquals(descriptors(), before);
});

Deno.test("PolledFd.wait goes on after a signal has interrupted its thread", async () => {
  // By default the signal is ignored and would not interrupt anything.
  const heard = () => {};
  Deno.addSignalListener("SIGWINCH", heard);
  const before = descriptors();
  await using it = polled();
  const waiting = it.signals.wait();
  const [epoll] = newEpolls(before);
  while (threadsAt(epoll).length === 0) await sleep(5);
  const [thread] = threadsAt(epoll);
  const SIGWINCH = 28;
  for (let time = 0; time < 20; time++) {
    assertEquals(testLibc.tgkill(Deno.pid, thread, SIGWINCH), 0);
    await sleep(1);
  }
  assert(await isPending(waiting));
  it.signal();
  await within(waiting);
  Deno.removeSignalListener("SIGWINCH", heard);
});

// Without the error the call would be repeated for ever.
Deno.test("PolledFd.wait fails where epoll itself does", async () => {
  const before = descriptors();
  await using first = polled();
  await using second = polled();
  const waits = [first.signals.wait(), second.signals.wait()];
  const [epoll] = newEpolls(before);
  while (threadsAt(epoll).length === 0) await sleep(5);
  neutralizeFd(epoll);
  const failed = assertRejects(() => within(waits[1]), UblkError, "epoll_wait: failed with EINVAL");
  first.signal();
  await within(waits[0]);
  await failed;
});

/** Runs a script, which has 20 s to end, and returns its output. */
async function run(script: string): Promise<string> {
  const here = import.meta.resolve("./");
  const { stdout, success } = await new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      "--no-lock",
      `import { eventFd, signalEventFd } from "${here}libc.ts";
       import { PolledFd } from "${here}poller.ts";
       const fd = eventFd();
       const signals = new PolledFd(fd);
       ${script}`,
    ],
    cwd: new URL("..", import.meta.url),
    signal: AbortSignal.timeout(20_000),
    stderr: "inherit",
  }).output();
  assert(success);
  return new TextDecoder().decode(stdout);
}

Deno.test("PolledFd keeps a process alive while somebody waits, and not otherwise", async () => {
  const scripts = [
    'console.log("idle");',
    'signals.wait(300).then(() => console.log("waited"));',
    'signals.wait().then(() => console.log("disposed")); queueMicrotask(() => signals[Symbol.dispose]());',
    'signals.wait().then(() => console.log("woken")); signals.wake();',
  ];
  const said = await Promise.all(scripts.map(run));
  assertEquals(said, ["idle\n", "waited\n", "disposed\n", "woken\n"]);
});
