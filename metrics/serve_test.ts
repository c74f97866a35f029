import { assert, assertAlmostEquals, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { createStatsBuffer, QueueStats, readStats, sumStats } from "../queue/stats.ts";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
} from "../uapi/ublk_io.ts";
import { UblkError } from "../uapi/error.ts";
import { libc } from "../uring/libc.ts";
import { type Family, parseExposition } from "../tests/exposition.ts";
import type { Metered } from "./exposition.ts";
import { serveMetrics } from "./serve.ts";

// libc stays open for the life of the process, which is no leak of the test that opens it first.
libc();

/** A device that is not there, with two queues. */
function fakeDevice(id: number) {
  const buffers = [createStatsBuffer(), createStatsBuffer()];
  const queues = buffers.map((buffer) => new QueueStats(buffer));
  const device = {
    id,
    info: () => ({
      path: `/dev/ublkb${id}`,
      size: 1 << 20,
      queues: 2,
      depth: 128,
      dataPath: "copy",
      readOnly: false,
    }),
    stats: () => {
      const list = buffers.map(readStats);
      return { total: sumStats(list), queues: list, logDropped: 3 };
    },
  } as unknown as Metered;
  return { device, queues };
}

async function scrape(url: string): Promise<Map<string, Family>> {
  const response = await fetch(url);
  assertEquals(response.status, 200);
  assertEquals(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  return parseExposition(await response.text());
}

/** The value of the only sample that has these labels. */
function valueOf(
  families: Map<string, Family>,
  name: string,
  labels: Record<string, string>,
  suffix = "",
): number {
  const found = families.get(name)!.samples.filter((sample) =>
    sample.name === name + suffix &&
    Object.entries(labels).every(([label, text]) => sample.labels[label] === text)
  );
  assertEquals(found.length, 1, `${name}${suffix} ${JSON.stringify(labels)}`);
  return found[0].value;
}

Deno.test("serveMetrics tells what devices have done, by operation and queue", async () => {
  const { device, queues: [first, second] } = fakeDevice(900_000);
  for (let time = 0; time < 7; time++) first.count(UBLK_IO_OP_READ, 4096);
  second.count(UBLK_IO_OP_READ, 512);
  second.count(UBLK_IO_OP_WRITE, 8192);
  second.count(UBLK_IO_OP_FLUSH, 0);
  second.count(UBLK_IO_OP_DISCARD, 65536);
  second.error();
  second.timeout();
  second.batch(4);
  second.inFlight = 9;
  const other = fakeDevice(900_001);
  await using server = await serveMetrics("127.0.0.1:0", () => [device, other.device]);
  assertMatch(server.url, /^http:\/\/127\.0\.0\.1:\d+\/metrics$/);
  const families = await scrape(server.url);
  const value = (name: string, labels: Record<string, string>) =>
    valueOf(families, `ublk_${name}`, { device: "ublkb900000", ...labels });
  assertEquals(value("requests_total", { op: "read" }), 8);
  assertEquals(value("requests_total", { op: "write" }), 1);
  assertEquals(value("requests_total", { op: "flush" }), 1);
  assertEquals(value("requests_total", { op: "discard" }), 1);
  assertEquals(value("requests_total", { op: "write_zeroes" }), 0);
  assertEquals(value("requests_total", { op: "other" }), 0);
  assertEquals(value("bytes_total", { op: "read" }), 7 * 4096 + 512);
  assertEquals(value("bytes_total", { op: "discard" }), 65536);
  assertEquals(value("errors_total", {}), 1);
  assertEquals(value("timeouts_total", {}), 1);
  assertEquals(value("log_dropped_total", {}), 3);
  assertEquals(value("queue_requests_total", { queue: "0" }), 7);
  assertEquals(value("queue_requests_total", { queue: "1" }), 4);
  assertEquals(value("queue_bytes_total", { queue: "1" }), 512 + 8192 + 65536);
  assertEquals(value("queue_errors_total", { queue: "0" }), 0);
  assertEquals(value("queue_errors_total", { queue: "1" }), 1);
  assertEquals(value("queue_batches_total", { queue: "1" }), 1);
  assertEquals(value("queue_held_requests", { queue: "1" }), 9);
  assertEquals(value("size_bytes", {}), 1 << 20);
  assertEquals(value("queue_depth", {}), 128);
  assertEquals(value("device_info", { path: "/dev/ublkb900000", data_path: "copy" }), 1);
  assertEquals(
    valueOf(families, "ublk_requests_total", { device: "ublkb900001", op: "read" }),
    0,
  );
  // What the kernel does not tell of a disk that is not there is left out.
  assertEquals(families.get("ublk_inflight_requests")!.samples, []);
});

Deno.test("serveMetrics has names, types and units as Prometheus wants them", async () => {
  const { device } = fakeDevice(900_000);
  await using server = await serveMetrics("127.0.0.1:0", () => [device]);
  for (const [name, { type, help, samples }] of await scrape(server.url)) {
    assertMatch(name, /^ublk_[a-z_]+$/);
    assertEquals(name.endsWith("_total"), type === "counter", name);
    assertMatch(help, /\.$|; always 1\.$/);
    for (const { labels } of samples) {
      assert(name === "ublk_build_info" || labels.device === "ublkb900000", name);
    }
  }
});

Deno.test("serveMetrics gives latencies as a cumulative histogram in seconds", async () => {
  const { device, queues: [first, second] } = fakeDevice(900_000);
  for (let time = 0; time < 10; time++) first.latency(UBLK_IO_OP_READ, 0.5);
  for (let time = 0; time < 20; time++) second.latency(UBLK_IO_OP_READ, 100);
  second.latency(UBLK_IO_OP_READ, 2 ** 27);
  await using server = await serveMetrics("[::1]:0", () => [device]);
  assertMatch(server.url, /^http:\/\/\[::1\]:\d+\/metrics$/);
  const families = await scrape(server.url);
  const name = "ublk_request_duration_seconds";
  assertEquals(families.get(name)!.type, "histogram");
  const buckets = families.get(name)!.samples.filter((sample) =>
    sample.name === `${name}_bucket` && sample.labels.op === "read"
  );
  const bounds = buckets.map(({ labels }) => Number(labels.le.replace("+Inf", "Infinity")));
  assertEquals(bounds, [...Array.from({ length: 27 }, (_, power) => 2 ** power / 1e6), Infinity]);
  // 64 µs are too few for 100, and 128 are enough.
  const counts = buckets.map(({ value }) => value);
  assertEquals(counts, [...Array(7).fill(10), ...Array(20).fill(30), 31]);
  assertEquals(valueOf(families, name, { op: "read" }, "_count"), 31);
  const sum = valueOf(families, name, { op: "read" }, "_sum");
  assertAlmostEquals(sum, (10 * 0.5 + 20 * 100 + 2 ** 27) / 1e6, 1e-9);
  assertEquals(valueOf(families, name, { op: "write" }, "_count"), 0);
});

Deno.test("serveMetrics reads the counters at each scrape, and none of them ever falls", async () => {
  const { device, queues: [first] } = fakeDevice(900_000);
  const devices = [device];
  await using server = await serveMetrics("127.0.0.1:0", () => devices);
  const reads = async () =>
    valueOf(await scrape(server.url), "ublk_requests_total", { device: "ublkb900000", op: "read" });
  assertEquals(await reads(), 0);
  first.count(UBLK_IO_OP_READ, 4096);
  first.count(UBLK_IO_OP_READ, 4096);
  assertEquals(await reads(), 2);
  first.uncount(UBLK_IO_OP_READ, 4096);
  assertEquals(await reads(), 2);
  // Another device of the same number begins anew.
  devices[0] = fakeDevice(900_000).device;
  assertEquals(await reads(), 0);
  devices.pop();
  assertEquals((await scrape(server.url)).get("ublk_requests_total")!.samples, []);
});

Deno.test("serveMetrics answers nothing but GET /metrics", async () => {
  await using server = await serveMetrics("127.0.0.1:0", () => []);
  const elsewhere = await fetch(server.url.replace(/metrics$/, ""));
  assertEquals([elsewhere.status, await elsewhere.text()], [404, "The metrics are at /metrics.\n"]);
  const posted = await fetch(server.url, { method: "POST", body: "x" });
  assertEquals([posted.status, posted.headers.get("allow")], [405, "GET, HEAD"]);
  await posted.body?.cancel();
  const head = await fetch(server.url, { method: "HEAD" });
  assertEquals([head.status, await head.text()], [200, ""]);
});

Deno.test("serveMetrics serves a Unix socket, in place of a dead one, and removes it", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/metrics.sock`;
  // What a process leaves that was killed.
  await new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      `Deno.listen({ transport: "unix", path: ${JSON.stringify(path)} }); Deno.exit();`,
    ],
  }).output();
  assert((await Deno.lstat(path)).isSocket, "a dead socket is there");
  {
    const { device, queues: [first] } = fakeDevice(900_000);
    first.count(UBLK_IO_OP_READ, 4096);
    await using server = await serveMetrics(`unix:${path}`, () => [device]);
    assertEquals(server.url, `unix:${path}`);
    const families = parseExposition(await getByUnixSocket(path));
    assertEquals(valueOf(families, "ublk_requests_total", { op: "read" }), 1);
    const error = await assertRejects(() => serveMetrics(`unix:${path}`, () => []), UblkError);
    assertEquals(
      error.message,
      `serve metrics at unix:${path}: somebody else is there; choose another port or path`,
    );
  }
  await assertRejects(() => Deno.lstat(path), Deno.errors.NotFound);
  await Deno.remove(folder, { recursive: true });
});

/** The body of an answer, as a proxy in front of Prometheus would fetch it. */
async function getByUnixSocket(path: string): Promise<string> {
  using client = Deno.createHttpClient({ proxy: { transport: "unix", path } });
  return await (await fetch("http://localhost/metrics", { client })).text();
}

Deno.test("serveMetrics says in one line that a port is taken", async () => {
  await using server = await serveMetrics("127.0.0.1:0", () => []);
  const { port } = new URL(server.url);
  const error = await assertRejects(() => serveMetrics(`127.0.0.1:${port}`, () => []), UblkError);
  assertEquals(
    error.message,
    `serve metrics at 127.0.0.1:${port}: somebody else is there; choose another port or path`,
  );
});

Deno.test("serveMetrics refuses what other machines reach", async () => {
  const error = await assertRejects(() => serveMetrics("0.0.0.0:0", () => []), UblkError);
  assertEquals(error.code, "INVALID_ARGUMENT");
});

/** A process with few descriptors, which says where its metrics are. */
const WITH_FEW_DESCRIPTORS = `
  const { serveMetrics } = await import(${JSON.stringify(new URL("./serve.ts", import.meta.url))});
  // As every command has it. Deno itself wants descriptors for the first of them.
  Deno.addSignalListener("SIGHUP", () => {});
  const { url } = await serveMetrics("127.0.0.1:0", () => []);
  console.log(url);
`;

/** Listens at a port as soon as nobody else does. */
async function whenFree(hostname: string, port: number): Promise<Deno.TcpListener> {
  const deadline = performance.now() + 10_000;
  while (true) {
    try {
      return Deno.listen({ hostname, port });
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse) || performance.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

Deno.test("serveMetrics + connections that take all descriptors + the process lives, and answers again", async () => {
  await using child = new Deno.Command("sh", {
    args: [
      ...["-c", 'ulimit -n 128; exec "$@"', "sh"],
      ...[Deno.execPath(), "eval", "--ext=ts", WITH_FEW_DESCRIPTORS],
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.getReader();
  const url = new TextDecoder().decode((await reader.read()).value).trim();
  await reader.cancel();
  const { hostname, port } = new URL(url);
  const held: Deno.Conn[] = [];
  try {
    while (held.length < 200) held.push(await Deno.connect({ hostname, port: Number(port) }));
  } catch (error) {
    // It has given up already, for now; with those that it had not taken yet.
    const { ConnectionRefused, ConnectionReset } = Deno.errors;
    if (!(error instanceof ConnectionRefused || error instanceof ConnectionReset)) throw error;
  }
  // Its port is taken, so that it cannot listen again at first: that threw where nobody caught it.
  const other = await whenFree(hostname, Number(port));
  for (const connection of held) connection.close();
  await new Promise((resolve) => setTimeout(resolve, 1500));
  other.close();
  const deadline = performance.now() + 10_000;
  let status = 0;
  while (status === 0 && performance.now() < deadline) {
    const answer = await fetch(url).catch(() => undefined);
    status = answer?.status ?? 0;
    await answer?.body?.cancel();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assertEquals(status, 200);
});
