import { assert, assertEquals, assertMatch } from "@std/assert";
import { runChild, runWithout } from "../tests/seccomp.ts";
import { EPERM } from "../uapi/errno.ts";
import { getAffinity, openAllOfLibc } from "./libc.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const url = (file: string) => JSON.stringify(new URL(file, import.meta.url).href);

/** `syscall(2)` number of `prctl` and `mlockall` on x86-64. */
const SYS_prctl = 157;
const SYS_mlockall = 151;

Deno.test("startOver runs the program again, in the same process, with all its threads so", async () => {
  const cpu = getAffinity().at(-1)!;
  const { code, stdout, stderr } = await runChild(
    `
    import { getAffinity, setAffinity } from ${url("./libc.ts")};
    import { startOver } from ${url("./process.ts")};
    console.log(Deno.pid, Deno.args, Deno.env.get("UBLK_TEST"));
    if (getAffinity().length > 1) {
      setAffinity([${cpu}]);
      startOver();
    }
    for (const { name } of Deno.readDirSync("/proc/self/task")) {
      const status = Deno.readTextFileSync("/proc/self/task/" + name + "/status");
      console.log(/Cpus_allowed_list:\\t(.*)/.exec(status)[1]);
    }
  `,
    ["env", "UBLK_TEST=a=b"],
  );
  assertEquals([code, stderr], [0, ""]);
  const lines = stdout.trim().split("\n");
  const threads = lines.filter((line) => !line.includes("["));
  assert(threads.length > 4, stdout);
  assertEquals(new Set(threads), new Set([`${cpu}`]));
  const starts = lines.filter((line) => line.includes("["));
  assertEquals(starts.length, getAffinity().length > 1 ? 2 : 1);
  assertEquals(new Set(starts).size, 1, "the same pid, arguments and environment");
  assertMatch(starts[0], /^\d+ \[\] a=b$/);
});

Deno.test("lockMemory locks what is touched, and what is touched later, and discards go on", async () => {
  const { code, stdout, stderr } = await runChild(
    `
    import { discardPages, Mapping } from ${url("./mapping.ts")};
    import { discardsIgnored, ignoreDiscards, lockMemory, startOver } from ${url("./process.ts")};
    if (!discardsIgnored()) {
      ignoreDiscards();
      startOver();
    }
    const locked = (address) => {
      const maps = Deno.readTextFileSync("/proc/self/smaps").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
      const own = maps.find((map) => parseInt(map, 16) === address);
      return [Number(/Locked: +(\\d+)/.exec(own)[1]), / lo( |$)/m.test(own)];
    };
    lockMemory();
    const mapping = Mapping.anonymous(1 << 30);
    const bytes = new Uint8Array(mapping.buffer());
    console.log(JSON.stringify(locked(mapping.address)));
    bytes.fill(1, 0, 1 << 20);
    console.log(JSON.stringify(locked(mapping.address)));
    discardPages(mapping.address, 1 << 19);
    // Before the look: some kernels count the page of zeroes that a read brings.
    const after = JSON.stringify(locked(mapping.address));
    console.log(bytes[0], bytes[1 << 19], after);
    // V8 frees memory here and at its end, and so does the V8 of a thread.
    const source = "for (let i = 0; i < 50; i++) new Array(1e5).fill({}); postMessage(0)";
    const worker = new Worker("data:text/javascript," + source, { type: "module" });
    await new Promise((resolve) => worker.onmessage = resolve);
    worker.terminate();
    for (let round = 0; round < 3; round++) {
      Array.from({ length: 30 }, () => new Array(5e4).fill(0).map((_, i) => ({ i, s: "x" + i })));
      gc();
    }
  `,
    ["env", "DENO_V8_FLAGS=--expose-gc"],
  );
  assertEquals([code, stderr], [0, ""]);
  assertEquals(stdout, "[0,true]\n[1024,true]\n0 1 [512,true]\n");
});

const REFUSALS = [
  [
    "ignoreDiscards()",
    SYS_prctl,
    "prctl(PR_SET_SECCOMP): failed with EPERM; --mlock needs root, or CAP_SYS_ADMIN",
  ],
  [
    "lockMemory()",
    SYS_mlockall,
    "mlockall: failed with EPERM; it needs root, CAP_IPC_LOCK or `ulimit -l unlimited`",
  ],
  [
    "setIoFlusher(true)",
    SYS_prctl,
    "prctl(PR_SET_IO_FLUSHER): failed with EPERM; it needs root, or CAP_SYS_RESOURCE",
  ],
  [
    "isIoFlusher()",
    SYS_prctl,
    "prctl(PR_SET_IO_FLUSHER): failed with EPERM; it needs root, or CAP_SYS_RESOURCE",
  ],
] as const;

for (const [call, number, message] of REFUSALS) {
  Deno.test(`${call} that is refused says what it needs`, async () => {
    const { stdout, stderr } = await runWithout(
      number,
      EPERM,
      `
      import { ignoreDiscards, isIoFlusher, lockMemory, setIoFlusher } from ${url("./process.ts")};
      try {
        ${call};
      } catch (error) {
        console.log(error.message);
      }
    `,
    );
    assertEquals([stdout, stderr], [`${message}\n`, ""]);
  });
}

// A server used to keep its caller's files open, and with them a filesystem busy or a lock taken.
Deno.test("keepDescriptors keeps inherited descriptors from programs that are started", async () => {
  const { code, stdout, stderr } = await runChild(
    `
    import { keepDescriptors } from ${url("./process.ts")};
    const inherited = async () => {
      const script = "for fd in 3 9 200; do [ -e /proc/self/fd/$fd ] && echo $fd; done; :";
      const { stdout } = await new Deno.Command("bash", { args: ["-c", script] }).output();
      return new TextDecoder().decode(stdout).trim().split("\\n").join();
    };
    console.log(await inherited());
    keepDescriptors();
    console.log(await inherited());
  `,
    ["bash", "-c", 'exec 9</dev/zero 200</dev/zero; exec "$@"', "bash"],
  );
  assertEquals([code, stderr, stdout], [0, "", "9,200\n\n"]);
});
