/** The commands on a real driver: what they print, and every way in which they end. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import {
  asNobody,
  assertOneLine,
  commandLine,
  runCommand,
  withPrivateDev,
} from "../integration/_run_command.ts";
import {
  heavyLoad,
  LIMIT_MS,
  list,
  nodes,
  run,
  Running,
  sleep,
  start,
  underLoad,
} from "./_command.ts";

/** For deleting what a dead server left, even in an emulated guest: nobody is waited for. */
const DEL_MS = 50_000;

Deno.test("ublk-mem prints the path once the disk opens, and nothing else", async () => {
  await using server = start("ublk-mem", "--size", "64M", "--id", "3");
  const path = await server.firstLine();
  // At this very moment: no udev rule, no waiting.
  const { code, stderr } = await run("dd", `if=${path}`, "of=/dev/null", "bs=4k", "count=1");
  assertEquals(code, 0, stderr);
  assertEquals(path, "/dev/ublkb3");
  assertEquals((await run("blockdev", "--getsize64", path)).stdout, `${64 << 20}\n`);
  server.kill("SIGTERM");
  assertEquals(await server.exitCode(), 0);
  assertEquals(server.stdout, "/dev/ublkb3\n");
  assertMatch(
    server.stderr,
    /^\d{4}-\d\d-\d\dT[\d:.]+Z ublk-mem: serving \/dev\/ublkb3: 64 MiB, 1 queue of depth 128, /,
  );
  assertMatch(server.stderr, /SIGTERM: stopping .*\n.*is gone\n$/);
  assertEquals(nodes(), []);
});

Deno.test("ublk-null --json prints one object with the path", async () => {
  await using server = start("ublk-null", "--json", "--queues", "2", "--depth", "32");
  const info = JSON.parse(await server.firstLine());
  assertEquals(info.path, `/dev/ublkb${info.id}`);
  assertEquals([info.size, info.queues, info.depth], [250 * 2 ** 30, 2, 32]);
  server.kill("SIGINT");
  assertEquals(await server.exitCode(), 0);
  assertEquals(server.stdout.split("\n").length, 2);
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test(`ublk-mem ends on ${signal} during heavy I/O, with the disk gone`, async () => {
    await using server = start("ublk-mem", "--size", "256M", "--queues", "0");
    const path = await server.firstLine();
    await using _load = heavyLoad(path);
    await underLoad(path);
    server.kill(signal);
    assertEquals(await server.exitCode(), 0, server.stderr);
    assertEquals(nodes(), []);
  });
}

Deno.test("Ctrl-C at a terminal ends `deno task ublk-mem` cleanly", async () => {
  const command = `${Deno.execPath()} task --quiet ublk-mem --size 64M`;
  const script = ["script", "--quiet", "--return", "--command", command, "/dev/null"];
  await using terminal = new Running(script, { stdin: "piped" });
  const path = await terminal.firstLine();
  await using _load = heavyLoad(path);
  await underLoad(path);
  await terminal.type("\x03");
  await terminal.exitCode();
  assertStringIncludes(terminal.stdout, `${path} is gone`);
  assert(!terminal.stdout.includes("by force"), terminal.stdout);
  assertEquals(nodes(), []);
});

for (const node of ["ublkc", "ublkb"]) {
  Deno.test(`a signal as soon as /dev/${node}N exists leaves nothing behind`, async () => {
    await using server = start("ublk-mem", "--size", "64M", "--depth", "1024", "--queues", "0");
    const endMs = performance.now() + LIMIT_MS;
    while (!nodes().some((name) => name.startsWith(node))) {
      assert(performance.now() < endMs, `no node; stderr: ${server.stderr}`);
      await sleep(1);
    }
    server.kill("SIGTERM");
    assertEquals(await server.exitCode(), 0, server.stderr);
    assertEquals(nodes(), []);
  });
}

Deno.test("kill -9 leaves an orphan that ublk list shows and ublk del -a removes", async () => {
  await using server = start("ublk-mem", "--size", "64M", "--read-only", "--block-size", "4K");
  const path = await server.firstLine();
  const [live] = await list();
  assertEquals([live.state, live.orphan, live.serverAlive], ["live", false, true]);
  assertEquals([live.path, live.size, live.blockSize, live.readOnly], [path, 64 << 20, 4096, true]);
  server.kill("SIGKILL");
  assertEquals(await server.exitCode(), 137);
  let [dead] = await list();
  // The kernel notices when the last of the server's threads is gone.
  for (let tries = 0; dead.state === "live" && tries < 100; tries++, [dead] = await list());
  assertEquals([dead.state, dead.orphan, dead.serverAlive], ["dead", true, false]);
  assertStringIncludes((await runCommand("ublk", ["list"])).stdout, "(orphan)");
  const startMs = performance.now();
  assertEquals(await runCommand("ublk", ["del", "-a"]), { code: 0, stdout: "", stderr: "" });
  assert(performance.now() - startMs < DEL_MS);
  assertEquals([await list(), nodes()], [[], []]);
  // Once more: there is nothing to delete, and that is fine.
  assertEquals(await runCommand("ublk", ["del", "-a"]), { code: 0, stdout: "", stderr: "" });
});

for (const args of [["stop", "-n", "7"], ["del", "-n", "7"], ["del", "--force", "-n", "7"]]) {
  Deno.test(`ublk ${args.join(" ")} ends a server under load, which exits with 0`, async () => {
    await using server = start("ublk-mem", "--size", "64M", "--id", "7");
    await using load = heavyLoad(await server.firstLine());
    await underLoad("/dev/ublkb7");
    const { code, stdout, stderr } = await runCommand("ublk", args);
    assertEquals([code, stdout], [0, ""], stderr);
    const warning =
      /^ublk: warning: \/dev\/ublkb7 is open in process \d+ .*; it goes all the same\n$/;
    assertMatch(stderr, args.includes("--force") ? /^$/ : warning);
    assertEquals(await server.exitCode(), 0, server.stderr);
    assertStringIncludes(server.stderr, "somebody else removed /dev/ublkb7");
    await load.exitCode();
    assertEquals(nodes(), []);
  });
}

Deno.test("ublk info and features say what the kernel says", async () => {
  await using server = start("ublk-mem", "--size", "1G", "--queues", "2", "--max-io", "1M");
  const path = await server.firstLine();
  const id = path.slice("/dev/ublkb".length);
  const { stdout } = await runCommand("ublk", ["info", "-n", id, "--json"]);
  const info = JSON.parse(stdout);
  assertEquals([info.queues, info.size, info.maxIoBytes], [2, 2 ** 30, 2 ** 20]);
  assertEquals(info.parameters.sizeBytes, 2 ** 30);
  assertStringIncludes((await runCommand("ublk", ["info", "-n", id])).stdout, "size: 1 GiB");
  const features = (await runCommand("ublk", ["features", "-v"])).stdout;
  assertMatch(features, /^6 +UBLK_F_CMD_IOCTL_ENCODE +yes +6\.4 /m);
  assertMatch(features, /^19 +UBLK_F_SHMEM_ZC +(yes|no) +7\.1 /m);
});

Deno.test("ublk with the id of no device: one line, exit 1", async () => {
  for (const subcommand of ["info", "del"]) {
    const ran = await runCommand("ublk", [subcommand, "-n", "99"]);
    assertOneLine(ran, 1, /\(device 99\): no such device \(ENODEV\); see `ublk list`/);
  }
});

Deno.test("ublk-mem with an id in use: one line, exit 1, the other disk unharmed", async () => {
  await using server = start("ublk-mem", "--size", "64M", "--id", "5");
  const path = await server.firstLine();
  const ran = await runCommand("ublk-mem", ["--size", "64M", "--id", "5"]);
  assertOneLine(ran, 1, /ADD_DEV.*the id is in use \(EEXIST\); choose another/);
  assertEquals((await run("dd", `if=${path}`, "of=/dev/null", "bs=1M", "count=4")).code, 0);
  assertEquals(nodes(), ["ublkb5", "ublkc5"]);
});

Deno.test("ublk-mem larger than memory: refused, and served with --overcommit", async () => {
  const ran = await runCommand("ublk-mem", ["--size", "1T"]);
  assertOneLine(
    ran,
    2,
    /the machine has .+ of memory; ask for less, or allow it with --overcommit/,
  );
  await using server = start("ublk-mem", "--size", "1T", "--overcommit");
  assertMatch(await server.firstLine(), /^\/dev\/ublkb\d+$/);
  server.kill("SIGINT");
  assertEquals(await server.exitCode(), 0);
});

Deno.test("ublk-mem as nobody: one line, exit 1", async () => {
  const ran = await runCommand("ublk-mem", ["--size", "64M"], { wrap: asNobody() });
  assertOneLine(ran, 1, /open \/dev\/ublk-control: .+ may not open it \(EACCES\); .*run as root/);
});

Deno.test("ublk-mem with io_uring disabled: one line, exit 1", async () => {
  const sysctl = "/proc/sys/kernel/io_uring_disabled";
  const before = await Deno.readTextFile(sysctl);
  await Deno.writeTextFile(sysctl, "2");
  try {
    const ran = await runCommand("ublk-mem", ["--size", "64M"]);
    assertOneLine(ran, 1, /io_uring_setup: .+io_uring_disabled/);
  } finally {
    await Deno.writeTextFile(sysctl, before);
  }
  assertEquals(nodes(), []);
});

Deno.test("ublk-mem where no node appears: one line, exit 1, no device left", async () => {
  const wrap = withPrivateDev("cp -a /dev/ublk-control $D");
  const ran = await runCommand("ublk-mem", ["--size", "64M"], { wrap });
  assertOneLine(ran, 1, /wait for \/dev\/ublkc\d+ .+no node appeared in .+; in a container, mount/);
  assertEquals(nodes(), []);
});

Deno.test("ublk-mem whose stdout nobody reads: one line, exit 1, no device left", async () => {
  const line = commandLine("ublk-mem", ["--size", "64M"]).map((word) => `'${word}'`).join(" ");
  const ran = await run("bash", "-c", `${line} | true; exit \${PIPESTATUS[0]}`);
  assertOneLine(ran, 1, /write to stdout: .+; give it a reader, or \/dev\/null/);
  assertEquals(nodes(), []);
});

Deno.test("ublk-mem -vv whose stderr nobody reads serves on, and hears signals", async () => {
  await using server = new Running(commandLine("ublk-mem", ["--size", "64M", "-vv"]), {
    ignoreStderr: true,
  });
  const path = await server.firstLine();
  // Some 4,000 requests, two lines of log each: far more than a pipe holds.
  const dd = await run("dd", `if=${path}`, "of=/dev/null", "bs=4k", "count=4000", "iflag=direct");
  assertEquals(dd.code, 0, dd.stderr);
  server.kill("SIGTERM");
  assertEquals(await server.exitCode(), 0);
  assertEquals(nodes(), []);
});
