/** What a server asks of the kernel for its own process, and what `--resume` goes on with. */

import { assert, assertEquals, assertLess, assertMatch } from "@std/assert";
import { openAllOfLibc } from "../../uring/libc.ts";
import { setIoFlusher } from "../../uring/process.ts";
import { assertOneLine, commandLine, runCommand } from "../integration/_run_command.ts";
import { NotifySocket } from "../notify_socket.ts";
import { deleteAll, nodes, run, Running, sleep, within } from "./_command.ts";
import { attempt, sh, temporaryFolder } from "./_disk.ts";

// It stays open for the life of the process, which is no leak of the test that opens it first.
openAllOfLibc();

const ublk = (...args: string[]) => runCommand("ublk", args);

/** Runs `ublk add --json`; the device is deleted at the end of the scope. */
async function add(...args: string[]) {
  const { code, stdout, stderr } = await ublk("add", "--json", ...args);
  assertEquals([code, stderr], [0, ""]);
  const { id, pid, path } = JSON.parse(stdout) as { id: number; pid: number; path: string };
  return {
    id,
    pid,
    path,
    [Symbol.asyncDispose]: deleteAll,
  };
}

/** A file of every thread of a process, but of those that end meanwhile: Deno's pool has some. */
function threadFiles(pid: number, file: string): string[] {
  return [...Deno.readDirSync(`/proc/${pid}/task`)].flatMap(({ name }) => {
    try {
      return [Deno.readTextFileSync(`/proc/${pid}/task/${name}/${file}`).trimEnd()];
    } catch {
      return [];
    }
  });
}

/** A field of `/proc/PID/status` of every thread, by the thread's name. */
function threads(pid: number, field: string): [string, string][] {
  return threadFiles(pid, "status").map((status) => {
    const valueOf = (name: string) => new RegExp(`^${name}:\t(.*)$`, "m").exec(status)![1];
    return [valueOf("Name"), valueOf(field)];
  });
}

const kib = (text: string, field: string) =>
  Number(new RegExp(`^${field}: +(\\d+) kB$`, "m").exec(text.replaceAll("\t", " "))?.[1]);

const flags = (stat: string) => Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[6]);

/** The kernel's bits of an I/O flusher, found on this very thread. */
function flusherBits(): number {
  const own = () => flags(Deno.readTextFileSync("/proc/thread-self/stat"));
  setIoFlusher(true);
  const set = own();
  setIoFlusher(false);
  return set & ~own();
}

Deno.test("--mlock, --io-flusher, --oom-score and --cpus hold for every thread of a server", async () => {
  await using device = await add(
    ...["-t", "mem", "--size", "256M", "-q", "4"],
    ...["--mlock", "--io-flusher", "--oom-score", "-321", "--cpus", "1,3"],
  );
  const proc = `/proc/${device.pid}`;
  assertEquals(await Deno.readTextFile(`${proc}/oom_score_adj`), "-321\n");
  const cpus = threads(device.pid, "Cpus_allowed_list");
  assertEquals(cpus.filter(([name]) => name.startsWith("worker-")).length, 4);
  for (const [name, list] of cpus) assertMatch(list, /^(1|3|1,3)$/, name);
  const bits = flusherBits();
  assert(bits !== 0);
  const stats = threadFiles(device.pid, "stat");
  assert(stats.length > 4, `${stats.length} threads`);
  for (const stat of stats) assertEquals(flags(stat) & bits, bits, stat);
  // All is locked, but only what is touched is in memory: nothing was fetched for it.
  const status = await Deno.readTextFile(`${proc}/status`);
  assertLess(kib(status, "VmRSS"), kib(status, "VmLck") / 4, status);
  const locked = async () => kib(await Deno.readTextFile(`${proc}/smaps_rollup`), "Locked");
  const before = await locked();
  assert(before > 16 << 10, `${before} KiB`);
  await sh("dd if=/dev/urandom of=$disk bs=1M count=64 oflag=direct status=none", {
    disk: device.path,
  });
  // Meanwhile V8 may give back some of what was locked before.
  const peak = await locked();
  const held = peak - before;
  assert(held > 48 << 10, `of 64 MiB that the disk holds, ${held} KiB are locked`);
  // A discard gives it back nevertheless, whatever else the server has come to need meanwhile.
  await sh("blkdiscard $disk; cmp -n 64M $disk /dev/zero", { disk: device.path });
  const freed = peak - await locked();
  assert(freed > 48 << 10, `of 64 MiB that are discarded, ${freed} KiB are given back`);
  // What V8 gives back as threads end is no end of the process.
  const { code, stderr } = await ublk("del", "-n", `${device.id}`);
  assertEquals([code, stderr, nodes()], [0, "", []]);
});

Deno.test("a server keeps to the CPUs that its caller may use, unless it is told by hand", async () => {
  await using server = new Running([
    ...["taskset", "-c", "2"],
    ...commandLine("ublk", ["add", "--foreground", "--json", "-t", "null", "-q", "2"]),
    ...["--affinity", ":0"],
  ]);
  const { pid } = JSON.parse(await server.firstLine());
  const lists = threads(pid, "Cpus_allowed_list").map(([, list]) => list);
  assertEquals([...new Set(lists)].sort(), ["0", "2"]);
  assertEquals(lists.filter((list) => list === "0").length, 1);
});

for (
  const [flag, capability, line] of [
    [
      "--io-flusher",
      "sys_resource",
      /^ublk-null: error: prctl\(PR_SET_IO_FLUSHER\): .*EPERM.*; it needs root/,
    ],
    [
      "--oom-score=-5",
      "sys_resource",
      /^ublk-null: error: --oom-score -5: .*EACCES.*; it needs root/,
    ],
    ["--cpus=63", "", /^ublk-null: error: sched_setaffinity to CPUs 63: failed with EINVAL/],
  ] as const
) {
  Deno.test(`${flag} that is refused is one line, and no device`, async () => {
    const wrap = capability === "" ? [] : ["setpriv", `--bounding-set=-${capability}`];
    assertOneLine(await runCommand("ublk-null", [flag], { wrap }), 1, line);
    assertEquals(nodes(), []);
  });
}

/** A service manager that hears what a command says. */
class Ear implements Disposable {
  readonly heard: string[] = [];
  readonly #socket: NotifySocket;
  readonly #name: string;

  constructor(name: string) {
    this.#name = `@ublk-e2e-${name}-${Deno.pid}`;
    this.#socket = new NotifySocket(this.#name);
  }

  /** Starts a server that is to give a sign of life every two seconds. */
  serve(...line: string[]): Running {
    return new Running([
      "env",
      ...[`NOTIFY_SOCKET=${this.#name}`, "WATCHDOG_USEC=2000000"],
      ...line,
    ]);
  }

  /** How often a text has come since the last look. */
  count(text: string): number {
    const fresh = this.#socket.heard();
    this.heard.push(...fresh);
    return fresh.filter((one) => one.startsWith(text)).length;
  }

  /** Resolves once a text comes. */
  async until(text: string): Promise<void> {
    const wait = async () => {
      while (this.count(text) === 0) await sleep(20);
    };
    await within(wait(), text);
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}

Deno.test("a server in the foreground tells its service manager of start, life and end", async () => {
  using ear = new Ear("life");
  await using server = ear.serve(...commandLine("ublk-null", ["--cpus", "0-1"]));
  const path = await server.firstLine();
  await ear.until("WATCHDOG=1");
  // On a machine with other work the start takes so long that it asks for more time first.
  const first = ear.heard.find((one) => !one.startsWith("EXTEND_TIMEOUT_USEC="));
  assertMatch(`${first}`, new RegExp(`^READY=1\nMAINPID=\\d+\nSTATUS=serving ${path}: 250 GiB`));
  server.kill("SIGTERM");
  await ear.until("STOPPING=1");
  assertEquals(await server.exitCode(), 0);
});

Deno.test("a server whose backend is stuck gives no sign of life any more", async () => {
  using ear = new Ear("stuck");
  const options = { manner: "loop", synchronous: true, operation: "readAt" };
  const backend = ["-t", "./tests/backends/misbehaving.ts", "--options", JSON.stringify(options)];
  await using server = ear.serve(
    ...commandLine("ublk", ["add", "--foreground", "--json", "-q", "1", ...backend]),
  );
  const { id, path } = JSON.parse(await server.firstLine());
  await ear.until("WATCHDOG=1");
  await using _reader = new Running([
    ...["dd", `if=${path}`, "of=/dev/null", "bs=4k", "count=1", "skip=256", "iflag=direct"],
  ]);
  const reads = async () =>
    Number((await Deno.readTextFile(`/sys/block/ublkb${id}/inflight`)).trim().split(/\s+/)[0]);
  await within(
    (async () => {
      while (await reads() === 0) await sleep(20);
    })(),
    "the read",
  );
  // Those that were due already, and then none, while the main thread runs as before: it gives the
  // disk up only once the read is 20 s old.
  const startMs = performance.now();
  ear.count("WATCHDOG=1");
  for (let quietMs = startMs; performance.now() - quietMs < 4000;) {
    await sleep(100);
    if (ear.count("WATCHDOG=1") > 0) quietMs = performance.now();
    assertLess(performance.now() - startMs, 15_000, "it goes on with its signs of life");
  }
  server.kill("SIGKILL");
});

Deno.test("ublk add --resume recovers a device whose server was killed, and makes one that is not there", async () => {
  await using folder = await temporaryFolder();
  const file = `${folder.path}/disk`;
  const line = ["--resume", "-n", "6", "-t", "loop", "-r", "reissue", "--create", "--size", "64M"];
  await using first = await add(...line, file);
  assertEquals(first.id, 6);
  // Its server is alive.
  assertOneLine(
    await ublk("add", ...line, file),
    1,
    new RegExp(`^ublk: error: recover \\(device 6\\): its server, process ${first.pid}, is alive`),
  );
  await sh("mkfs.ext4 -q $disk; mkdir $at/m; mount $disk $at/m; echo kept > $at/m/file", {
    disk: first.path,
    at: folder.path,
  });
  try {
    Deno.kill(first.pid, "SIGKILL");
    await using second = await add(...line, file);
    assertEquals([second.id, second.pid === first.pid], [6, false]);
    await sh(
      "echo 3 > /proc/sys/vm/drop_caches; grep kept $at/m/file; echo more > $at/m/more; umount $at/m",
      { at: folder.path },
    );
    await sh("fsck.ext4 -fn $disk 2>&1", { disk: second.path });
  } finally {
    await attempt("umount -l $at/m", { at: folder.path });
  }
});

Deno.test("ublk add --resume deletes what is left of a device that cannot be recovered, and makes it anew", async () => {
  await using first = await add("--resume", "-n", "6", "-t", "mem", "--size", "32M");
  assertOneLine(
    await ublk("add", "--resume", "-n", "6", "-t", "mem", "--size", "32M"),
    1,
    new RegExp(
      `^ublk: error: resume \\(device 6\\): its server, process ${first.pid}, is alive; end it`,
    ),
  );
  const disk = await Deno.open(first.path);
  Deno.kill(first.pid, "SIGKILL");
  // Whoever has the old one open keeps its number; to try again is all there is, so no mistake (2).
  for (let round = 0; round < 2; round++) {
    assertOneLine(
      await ublk("add", "--resume", "-n", "6", "-t", "mem", "--size", "64M"),
      1,
      /^ublk: error: resume \(device 6\): .* is deleted.* open in process \d+ \(deno\).*; unmount/,
    );
  }
  disk.close();
  await using second = await add("--resume", "-n", "6", "-t", "mem", "--size", "64M");
  assertEquals(second.id, 6);
  assertEquals((await run("blockdev", "--getsize64", second.path)).stdout, `${64 << 20}\n`);
});

Deno.test("ublk add where /run/ublk has no room + says so, refuses --recovery, and leaves nothing", async () => {
  const before = nodes();
  const script = [
    "mkdir -p /run/ublk && mount -t tmpfs -o size=8k,mode=700 none /run/ublk",
    "dd if=/dev/zero of=/run/ublk/fill bs=1k 2>/dev/null",
    '"$@" add -n 21 -t null --quiet; echo "status $?"',
    // Of what the kernel does not know, the command line of the server tells.
    '"$@" list | tail -n +2',
    '"$@" add -n 22 -t null --recovery queue; echo "status $?"',
    '"$@" del -n 21; echo "status $?"',
    "ls /run/ublk",
  ].join("\n");
  const { code, stdout, stderr } = await run(
    ...["unshare", "--mount", "sh", "-c", script, "sh"] as const,
    ...commandLine("ublk", []),
  );
  assertEquals(code, 0, stderr);
  const [added, row, ...rest] = stdout.trimEnd().split("\n");
  assertEquals(added, "status 0");
  assertMatch(row, /^21 +\/dev\/ublkb21 +null +live .* rw .*pid \d+$/);
  assertEquals(rest, ["status 1", "status 0", "fill"]);
  const [warning, error, ...more] = stderr.trimEnd().split("\n");
  assertMatch(warning, /^ublk: warning: no record of the device is kept, .*No space left .*room$/);
  assertMatch(
    error,
    /^ublk: error: --recovery \(device 22\): no record .*; see to that folder, or /,
  );
  assertEquals([more, nodes()], [[], before]);
});
