import {
  assert,
  assertEquals,
  assertGreaterOrEqual,
  assertInstanceOf,
  assertLess,
  assertLessOrEqual,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { runChild } from "../tests/seccomp.ts";
import { EBADF, EINVAL, EMFILE, ENOENT } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import {
  addressOf,
  closeFd,
  cpusOf,
  environmentVariable,
  errno,
  getAffinity,
  libc,
  monotonicUs,
  neutralizeFd,
  openAllOfLibc,
  openFile,
  pathExists,
  setAffinity,
  signalEventFd,
  syscallError,
  turnOfEventLoop,
} from "./libc.ts";
import { bufferAt } from "./mapping.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const LIBC_URL = new URL("./libc.ts", import.meta.url).href;

// V8 may compile `errno` on entry, between the failed call and the read of its errno. The
// compilation sets an errno of its own: about one wrong value in 100,000 once a function is hot.
Deno.test("errno is the last failed call's, every time but when V8 compiles it", () => {
  const wrong: number[] = [];
  const see = (expected: number) => {
    const number = errno();
    if (number !== expected) wrong.push(number);
  };
  for (let time = 0; time < 10_000; time++) {
    assertEquals(libc().close(-1), -1);
    see(EBADF);
    assertEquals(libc().eventfd(0, -1), -1);
    see(EINVAL);
  }
  assert(wrong.length <= 2, `${wrong.length} of 20,000 are wrong: ${wrong.slice(0, 5)}`);
});

Deno.test("openFile throws operation and errno in one line, and closeFd a mistake of ours", () => {
  const missing = assertThrows(() => openFile("/no/such/file", 0), UblkError);
  assertEquals(missing.errno, ENOENT);
  assertEquals(missing.message, "open /no/such/file: failed with ENOENT");
  const closed = assertThrows(() => closeFd(-1), UblkError, "EBADF");
  assertEquals(closed.code, "SYSCALL_FAILED");
});

Deno.test("openFile's descriptor is closed on exec", () => {
  const fd = openFile("/dev/null", 0);
  try {
    const flags = Deno.readTextFileSync(`/proc/self/fdinfo/${fd}`).match(/flags:\s*(\d+)/)![1];
    assert((parseInt(flags, 8) & 0o2000000) !== 0, `O_CLOEXEC is not in ${flags}`);
  } finally {
    closeFd(fd);
  }
});

Deno.test("neutralizeFd lets go of a file, and keeps its number taken and empty", async () => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(path, "secret");
    const fd = openFile(path, 0);
    neutralizeFd(fd);
    assertEquals(Deno.readLinkSync(`/proc/self/fd/${fd}`) === path, false);
    // The number stays occupied, so no other file can get it.
    const next = openFile("/dev/null", 0);
    assert(next !== fd);
    closeFd(next);
    closeFd(fd);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("pathExists tells what is there from what is not, and throws where it cannot", () => {
  const paths = ["/proc/self", "/no/such/file", "/dev/null/below"];
  assertEquals(paths.map(pathExists), [true, false, false]);
  assertThrows(() => pathExists("/" + "x".repeat(300)), UblkError, "ENAMETOOLONG");
});

Deno.test("syscallError takes an errno and a hint", () => {
  const error = syscallError("frob", "try harder", EINVAL);
  assertEquals([error.errno, error.operation, error.hint], [EINVAL, "frob", "try harder"]);
  assertEquals(error.message, "frob: failed with EINVAL; try harder");
  assertStringIncludes(
    syscallError("frob", undefined, EMFILE).message,
    "EMFILE; raise the limit on open files (`ulimit -n`",
  );
});

Deno.test("monotonicUs never goes back and runs with the clock", async () => {
  // Between two readings of the other clock, since the thread may lose its CPU between any two.
  const read = () => [performance.now(), monotonicUs() / 1e3, performance.now()];
  const [beforeStart, start, afterStart] = read();
  await new Promise((resolve) => setTimeout(resolve, 50));
  const [beforeEnd, end, afterEnd] = read();
  assertGreaterOrEqual(end - start, beforeEnd - afterStart - 5);
  assertLess(end - start, afterEnd - beforeStart + 5);
  let last = monotonicUs();
  for (let time = 0; time < 100_000; time++) {
    const now = monotonicUs();
    assert(now >= last);
    last = now;
  }
  // CLOCK_MONOTONIC counts from boot, without time asleep.
  const [uptime] = Deno.readTextFileSync("/proc/uptime").split(" ");
  assertLess(last / 1e6, Number(uptime) + 1);
});

Deno.test("setAffinity confines the thread, and getAffinity says to which CPUs", () => {
  const all = getAffinity();
  assertGreaterOrEqual(all.length, 1);
  try {
    const one = all[all.length - 1];
    setAffinity([one]);
    assertEquals(getAffinity(), [one]);
  } finally {
    setAffinity(all);
  }
  assertEquals(getAffinity(), all);
  const error = assertThrows(() => setAffinity([]), UblkError);
  assertEquals(error.errno, EINVAL);
});

Deno.test("cpusOf reads a mask's bits, lowest CPU first", () => {
  assertEquals(cpusOf(Uint8Array.of(0b101, 0, 0x80)), [0, 2, 23]);
  assertEquals(cpusOf(new Uint8Array(128)), []);
});

Deno.test("addressOf is where the bytes are", () => {
  const bytes = new Uint8Array(4096).fill(3);
  const inside = bytes.subarray(100);
  assertEquals(addressOf(inside), addressOf(bytes) + 100n);
  new Uint8Array(bufferAt(Number(addressOf(inside)), 1))[0] = 9;
  assertEquals(bytes[100], 9);
});

Deno.test("libc is opened on first use only, and a missing permission is said as such", async () => {
  const source = `import { libc } from ${JSON.stringify(LIBC_URL)};
    console.log("imported");
    try { libc(); } catch (error) { console.log(error.name); }`;
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(file, source);
    const args = [
      "run",
      "--no-check",
      "--no-config",
      "--quiet",
      "--no-prompt",
      "--allow-read",
      file,
    ];
    const output = await new Deno.Command(Deno.execPath(), { args }).output();
    assertEquals(new TextDecoder().decode(output.stdout), "imported\nNotCapable\n");
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("exitNow ends the process with its status, whatever else is going on", async () => {
  // An ordinary exit would wait for a Worker that never returns.
  const { code, stdout } = await runChild(`
    import { exitNow } from ${JSON.stringify(LIBC_URL)};
    const url = "data:text/javascript,self.postMessage(0); for (;;);";
    const worker = new Worker(url, { type: "module" });
    worker.onmessage = () => {
      Deno.stdout.writeSync(new TextEncoder().encode("bye"));
      exitNow(7);
    };`);
  assertEquals([code, stdout], [7, "bye"]);
});

Deno.test("a failed call is an operating error with a stable code", () => {
  const error = assertThrows(() => signalEventFd(-1));
  assertInstanceOf(error, UblkError);
  assertStringIncludes(error.message, "write eventfd: failed with EBADF");
});

// Through the pool and back only once, a trip took up to 29 turns, each 4 ms of requests after the last.
// By `setImmediate` it takes all 300. How many trips take a second turn is up to the machine's load.
Deno.test("turnOfEventLoop lets a socket have its turn", async () => {
  using listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const { port, hostname } = listener.addr as Deno.NetAddr;
  const [near, far] = await Promise.all([Deno.connect({ port, hostname }), listener.accept()]);
  let turns = 0;
  let most = 0;
  let isOver = false;
  const trips = async () => {
    const byte = new Uint8Array(1);
    while (!isOver) {
      const before = turns;
      await near.write(byte);
      await far.read(byte);
      most = Math.max(most, turns - before);
    }
  };
  const done = trips();
  for (; turns < 300; turns++) await turnOfEventLoop();
  isOver = true;
  await done;
  near.close();
  far.close();
  assertLessOrEqual(most, 10);
});

Deno.test("environmentVariable + a variable that is there, empty, or not there + is told apart", () => {
  assertEquals(environmentVariable("PATH"), Deno.env.get("PATH"));
  Deno.env.set("UBLK_TEST_VARIABLE", "ä b");
  assertEquals(environmentVariable("UBLK_TEST_VARIABLE"), "ä b");
  Deno.env.set("UBLK_TEST_VARIABLE", "");
  assertEquals(environmentVariable("UBLK_TEST_VARIABLE"), "");
  Deno.env.delete("UBLK_TEST_VARIABLE");
  assertEquals(environmentVariable("UBLK_TEST_VARIABLE"), undefined);
});
