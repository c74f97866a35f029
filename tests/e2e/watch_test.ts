/** What can be seen of devices from outside: `ublk stats`, `ublk top`, metrics, telemetry; as `docs/watching.md` has it. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { nullDisk, serve } from "../../mod.ts";
import { collect, pointsOf } from "../collector.ts";
import { parseExposition } from "../exposition.ts";
import { assertOneLine, commandLine, runCommand } from "../integration/_run_command.ts";
import { deleteAll, nodes, Running, sleep, start, underLoad, within } from "./_command.ts";
import { FIO, sh } from "./_disk.ts";

/** Runs `ublk`, which must succeed, and returns what it prints. */
async function ublk(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runCommand("ublk", args);
  assertEquals([code, stderr], [0, ""], `ublk ${args.join(" ")}`);
  return stdout;
}

/** Runs `ublk add`; every device is deleted at the end of the scope. */
async function add(...args: string[]) {
  const { id, path } = JSON.parse(await ublk("add", "--json", ...args));
  return { id, path, [Symbol.asyncDispose]: deleteAll };
}

/** What `ublk stats --json` has of counters. */
interface Counters {
  readonly reads: number;
  readonly writes: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly errors: number;
  readonly latency: { readonly read: { histogram: { count: number }[]; count: number } };
}

async function statsOf(id: number) {
  const [stats, ...others] = JSON.parse(await ublk("stats", "--json", "-n", `${id}`));
  assertEquals(others, []);
  return stats as { total: Counters; queues: Counters[]; reason: string | null; inFlight: unknown };
}

Deno.test("ublk stats --json counts each request of fio, no more and no less", async () => {
  await using device = await add("-t", "mem", "--size", "64M", "-q", "2");
  const before = await statsOf(device.id);
  const fio = (options: string) => sh(`${FIO} --filename=$disk ${options}`, { disk: device.path });
  await fio("--rw=randread --bs=4k --io_size=6M --size=64M --iodepth=16");
  await fio("--rw=randwrite --bs=16k --io_size=8M --size=64M --iodepth=4");
  const after = await statsOf(device.id);
  const grown = (name: "reads" | "writes" | "bytesRead" | "bytesWritten" | "errors") =>
    after.total[name] - before.total[name];
  assertEquals([grown("reads"), grown("bytesRead")], [1536, 6 << 20]);
  assertEquals([grown("writes"), grown("bytesWritten")], [512, 8 << 20]);
  assertEquals(grown("errors"), 0);
  assertEquals(after.queues.length, 2);
  const reads = after.queues.reduce((sum, queue) => sum + queue.reads, 0);
  assertEquals(reads, after.total.reads);
  const { histogram, count } = after.total.latency.read;
  assertEquals(histogram.reduce((sum, bucket) => sum + bucket.count, 0), count);
  assertEquals([after.reason, after.inFlight], [null, { reads: 0, writes: 0 }]);
  const table = (await ublk("stats", "-q")).split("\n");
  assertMatch(table[1], new RegExp(`^ublkb${device.id}\\s+read\\s+${after.total.reads}\\s`));
  assertEquals(table.filter((line) => line.startsWith(" queue ")).length, 2);
});

Deno.test("ublk stats says of another program's device that its server tells nothing", async () => {
  await using device = await serve({ backend: nullDisk("1MiB") });
  const { total, reason } = await statsOf(device.id);
  assertEquals(total, null);
  assertMatch(reason!, /^its server tells nothing: it is another program's/);
  assertMatch(await ublk("stats"), new RegExp(`^ublkb${device.id} +its server tells nothing`, "m"));
});

Deno.test("ublk stats of a device that is not there is one line", async () => {
  const ran = await runCommand("ublk", ["stats", "-n", "77"]);
  assertOneLine(ran, 1, /stats \(device 77\): there is no such device; see `ublk list`/);
});

/** Random reads, 16 at a time, for as long as it takes. A thread's, which goes with the process. */
function readers(disk: string): Running {
  return new Running([
    ...["fio", "--name=load", `--filename=${disk}`, "--direct=1", "--rw=randread", "--bs=4k"],
    ...["--ioengine=libaio", "--iodepth=16", "--time_based", "--runtime=600", "--thread"],
  ]);
}

Deno.test("ublk top shows what a disk does, and each of its queues", async () => {
  await using device = await add("-t", "mem", "--size", "64M", "-q", "2");
  await using _load = readers(device.path);
  await underLoad(device.path);
  const top = () => ublk("top", "--iterations", "2", "--interval", "1", "-q");
  let text = await top();
  // Under such a load a server may be too slow for an interval now and then, which is said.
  for (let tries = 1; tries < 3 && text.includes("does not answer"); tries++) text = await top();
  const tables = text.split("\n\n");
  assertEquals(tables.length, 2);
  for (const table of tables) {
    const [headings, ...rows] = table.trimEnd().split("\n");
    assertMatch(headings, /^DEVICE +OP +IOPS +MB\/s +P50 +P99 +P99\.9 +DEPTH +ERRORS$/);
    // There are reads and no writes, and not all 16 of them wait at the server at any moment.
    assertMatch(
      rows[0],
      new RegExp(
        `^ublkb${device.id} +read +[1-9][\\d.]*[kM]? +[\\d.]+ +([\\d.]+[mµ]?s +){3}\\d+ +0$`,
      ),
    );
    assertMatch(rows[1], /^ +write +0 +0 +- +- +- +0$/);
    assertEquals(rows.filter((row) => row.startsWith(" queue ")).length, 2);
  }
});

Deno.test("ublk top draws on a terminal until q, and gives back what stood there", async () => {
  await using device = await add("-t", "null", "--size", "1M", "-q", "1");
  const line = commandLine("ublk", ["top", "--interval", "0.5"]).join(" ");
  const script = `stty cols 80 rows 24; ${line}; echo status $?; stty -a`;
  await using terminal = new Running(["script", "-qec", script, "/dev/null"], { stdin: "piped" });
  const shown = (text: string) =>
    within(
      (async () => {
        while (!terminal.stdout.includes(text)) await sleep(50);
      })(),
      `${text} on the terminal`,
    );
  await shown(`ublkb${device.id}      read `);
  assert(terminal.stdout.includes("q quits, p shows queues"));
  await terminal.type("p");
  await shown("q quits, p hides queues");
  await shown("\r\n queue 0    read ");
  await terminal.type("q");
  await shown("status 0");
  assertEquals(await terminal.exitCode(), 0);
  // Deno clears its own line of progress before.
  const [_before, frames, ...after] = terminal.stdout.split("\x1b[?1049");
  assertEquals([frames[0], after.length], ["h", 1]);
  assertMatch(after[0], /^lstatus 0\r\n/);
  assertMatch(after[0], / icanon /);
});

/** The value of a sample, of which there must be one. */
function valueOf(text: string, name: string, labels: Record<string, string>): number {
  const found = parseExposition(text).get(name)!.samples.filter((sample) =>
    Object.entries(labels).every(([label, value]) => sample.labels[label] === value)
  );
  assertEquals(found.length, 1, `${name} in ${text}`);
  return found[0].value;
}

Deno.test("ublk-mem --metrics tells Prometheus what the disk has done", async () => {
  await using server = start("ublk-mem", "--size", "16M", "--metrics", "127.0.0.1:0");
  const disk = await server.firstLine();
  const url = () => /metrics of \S+ at (http:\S+)\n/.exec(server.stderr)?.[1];
  while (url() === undefined) await sleep(20);
  const scrape = async () => await (await fetch(url()!)).text();
  const labels = { device: disk.slice("/dev/".length), op: "read" };
  const before = valueOf(await scrape(), "ublk_requests_total", labels);
  await sh("dd if=$disk of=/dev/null bs=64K count=10 iflag=direct status=none", { disk });
  const text = await scrape();
  assertEquals(valueOf(text, "ublk_requests_total", labels), before + 10);
  assertEquals(valueOf(text, "ublk_inflight_requests", labels), 0);
  assertEquals(valueOf(text, "ublk_size_bytes", {}), 16 << 20);
  server.kill("SIGTERM");
  assertEquals(await server.exitCode(), 0);
  assertEquals(nodes(), []);
});

Deno.test("ublk add --metrics serves a Unix socket, which goes with the device", async () => {
  const path = "/run/ublk/metrics-test.sock";
  await using device = await add("-t", "null", "--size", "1M", "--metrics", `unix:${path}`);
  using client = Deno.createHttpClient({ proxy: { transport: "unix", path } });
  const text = await (await fetch("http://localhost/metrics", { client })).text();
  assertEquals(valueOf(text, "ublk_device_info", { path: device.path, recovery: "none" }), 1);
  const second = await runCommand("ublk", ["add", "-t", "null", "--metrics", `unix:${path}`]);
  assertOneLine(second, 1, /serve metrics at unix:\S+: the address is in use; choose another/);
  assertEquals(nodes().length, 2, "the second one left nothing");
  await ublk("del", "-n", `${device.id}`);
  assert(![...Deno.readDirSync("/run/ublk")].some(({ name }) => name.startsWith("metrics")));
});

Deno.test("a device's telemetry goes along with Deno's, where that is on", async () => {
  let device = "";
  await using collector = collect((metrics) =>
    "ublk.requests" in metrics && pointsOf(metrics["ublk.requests"], device).write === 7
  );
  const env = Object.entries(collector.env).map((entry) => entry.join("="));
  await using server = new Running(["env", ...env, ...commandLine("ublk-mem", ["--size", "4M"])]);
  const disk = await server.firstLine();
  device = disk.slice("/dev/".length);
  await sh("dd if=/dev/zero of=$disk bs=32K count=7 oflag=direct status=none", { disk });
  const metrics = await within(collector.found, "an export");
  assertEquals(pointsOf(metrics["ublk.io"], device).write, 7 * 32768);
  assertEquals(pointsOf(metrics["ublk.requests.inflight"], device), { read: 0, write: 0 });
  server.kill("SIGTERM");
  assertEquals(await server.exitCode(), 0);
});
