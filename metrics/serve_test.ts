import { assert, assertAlmostEquals, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { createStatsBuffer, QueueStats, readStats, sumStats } from "../queue/stats.ts";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
} from "../uapi/ublk_io.ts";
import { UblkError } from "../uapi/error.ts";
import { readCounters } from "../disk/counters.ts";
import { AT, VOLUME_COUNTERS, VolumeCounters } from "../volume/counters.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { type Family, parseExposition } from "../tests/exposition.ts";
import type { Metered } from "./exposition.ts";
import { serveMetrics } from "./serve.ts";

// libc stays open for the life of the process, so it is not a leak of the first test that opens it.
openAllOfLibc();

/** A fake device with two queues. */
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

/** The value of the only sample with these labels. */
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

Deno.test("serveMetrics reports the work of devices, by operation and queue", async () => {
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
  // There is no such disk, so the kernel's own figures are omitted.
  assertEquals(families.get("ublk_inflight_requests")!.samples, []);
});

Deno.test("serveMetrics uses names, types and units by Prometheus's conventions", async () => {
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

Deno.test("serveMetrics reports a volume's own counters, and only a volume's", async () => {
  const plain = fakeDevice(900_000);
  const counters = new VolumeCounters();
  const { device } = fakeDevice(900_001);
  const volume: Metered = {
    ...device,
    stats: () => ({ ...device.stats(), backend: readCounters(counters, 3_000_000) }),
  };
  const devices = [plain.device];
  await using server = await serveMetrics("127.0.0.1:0", () => devices);
  const names = async () =>
    [...(await scrape(server.url)).keys()].filter((name) => name.startsWith("ublk_volume_"));
  assertEquals(await names(), []);
  devices.push(volume);
  counters.set(AT.journalBytes, 4096);
  counters.set(AT.lagSeconds, 500_000);
  counters.add(AT.writtenBytes, 1000);
  counters.add(AT.journalWrittenBytes, 1500);
  const read = async (name: string) => {
    const { type, samples, help } = (await scrape(server.url)).get(`ublk_volume_${name}`)!;
    return [type, help.endsWith("."), samples.map(({ value, labels }) => [value, labels])];
  };
  const labels = { device: "ublkb900001" };
  assertEquals(await read("journal_bytes"), ["gauge", true, [[4096, labels]]]);
  assertEquals(await read("lag_seconds"), ["gauge", true, [[2.5, labels]]]);
  assertEquals(await read("written_bytes_total"), ["counter", true, [[1000, labels]]]);
  counters.add(AT.writtenBytes, 24);
  assertEquals(await read("written_bytes_total"), ["counter", true, [[1024, labels]]]);
  // All but the ratios, which are for queries.
  const ratios = VOLUME_COUNTERS.filter(({ kind }) => kind === "ratio").length;
  assertEquals((await names()).length, VOLUME_COUNTERS.length - ratios);
  for (const name of await names()) assertMatch(name, /^ublk_[a-z_]+$/);
});

Deno.test("serveMetrics reports latencies as a cumulative histogram in seconds", async () => {
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
  // 100 µs are above the bucket of 64 µs, and within that of 128.
  const counts = buckets.map(({ value }) => value);
  assertEquals(counts, [...Array(7).fill(10), ...Array(20).fill(30), 31]);
  assertEquals(valueOf(families, name, { op: "read" }, "_count"), 31);
  const sum = valueOf(families, name, { op: "read" }, "_sum");
  assertAlmostEquals(sum, (10 * 0.5 + 20 * 100 + 2 ** 27) / 1e6, 1e-9);
  assertEquals(valueOf(families, name, { op: "write" }, "_count"), 0);
});

Deno.test("serveMetrics reads the counters at each scrape, and none of them decreases", async () => {
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
  // A new device with the same number starts again.
  devices[0] = fakeDevice(900_000).device;
  assertEquals(await reads(), 0);
  devices.pop();
  assertEquals((await scrape(server.url)).get("ublk_requests_total")!.samples, []);
});

Deno.test("serveMetrics answers only GET /metrics", async () => {
  await using server = await serveMetrics("127.0.0.1:0", () => []);
  const elsewhere = await fetch(server.url.replace(/metrics$/, ""));
  assertEquals([elsewhere.status, await elsewhere.text()], [404, "The metrics are at /metrics.\n"]);
  const posted = await fetch(server.url, { method: "POST", body: "x" });
  assertEquals([posted.status, posted.headers.get("allow")], [405, "GET, HEAD"]);
  await posted.body?.cancel();
  const head = await fetch(server.url, { method: "HEAD" });
  assertEquals([head.status, await head.text()], [200, ""]);
});

Deno.test("serveMetrics replaces a dead Unix socket, serves, and removes its own", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/metrics.sock`;
  // Leave the socket of a killed process.
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
    // Private whatever the umask, and without other files beside it.
    assertEquals(Deno.lstatSync(path).mode! & 0o777, 0o600);
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["metrics.sock"]);
    const families = parseExposition(await getByUnixSocket(path));
    assertEquals(valueOf(families, "ublk_requests_total", { op: "read" }), 1);
    const error = await assertRejects(() => serveMetrics(`unix:${path}`, () => []), UblkError);
    assertEquals(
      error.message,
      `serve metrics at unix:${path}: the address is in use; choose another port or path`,
    );
  }
  await assertRejects(() => Deno.lstat(path), Deno.errors.NotFound);
  await Deno.remove(folder, { recursive: true });
});

/** Fetches the body of an answer, as a proxy in front of Prometheus would. */
async function getByUnixSocket(path: string): Promise<string> {
  using client = Deno.createHttpClient({ proxy: { transport: "unix", path } });
  return await (await fetch("http://localhost/metrics", { client })).text();
}

Deno.test("serveMetrics reports a port in use, in one line", async () => {
  await using server = await serveMetrics("127.0.0.1:0", () => []);
  const { port } = new URL(server.url);
  const error = await assertRejects(() => serveMetrics(`127.0.0.1:${port}`, () => []), UblkError);
  assertEquals(
    error.message,
    `serve metrics at 127.0.0.1:${port}: the address is in use; choose another port or path`,
  );
});

Deno.test("serveMetrics refuses addresses that other machines can reach", async () => {
  const error = await assertRejects(() => serveMetrics("0.0.0.0:0", () => []), UblkError);
  assertEquals(error.code, "INVALID_ARGUMENT");
});

/** The program of a process that prints the address of its metrics. */
const SERVES = `
  const { serveMetrics } = await import(${JSON.stringify(new URL("./serve.ts", import.meta.url))});
  // Every command listens for signals; Deno needs descriptors for the first listener.
  Deno.addSignalListener("SIGHUP", () => {});
  const { url } = await serveMetrics("127.0.0.1:0", () => []);
  console.log(url);
`;

/** The same program, which then has no free descriptor for a second and a half. */
const SERVES_WITHOUT_DESCRIPTORS = `
  ${SERVES}
  const files = [];
  try {
    while (true) files.push(Deno.openSync("/dev/null"));
  } catch {
    console.log("full");
  }
  await new Promise((resolve) => setTimeout(resolve, 1500));
  for (const file of files) file.close();
`;

/** Starts such a process, which lives until the result is disposed of. */
function spawnServer(code: string) {
  const child = new Deno.Command("sh", {
    args: [
      ...["-c", 'ulimit -n 128; exec "$@"', "sh"],
      ...[Deno.execPath(), "eval", "--quiet", "--ext=ts", code],
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const stderr = new Response(child.stderr).text();
  let text = "";
  return {
    /** The next line of its stdout. */
    async line(): Promise<string> {
      while (!text.includes("\n")) {
        const { value, done } = await reader.read();
        if (done) throw new Error(`it has ended: ${await stderr}`);
        text += value;
      }
      const at = text.indexOf("\n");
      const line = text.slice(0, at);
      text = text.slice(at + 1);
      return line;
    },
    /** Ends the process, and returns its stderr. */
    async end(): Promise<string> {
      child.kill("SIGKILL");
      await child.status;
      await reader.cancel();
      return await stderr;
    },
  };
}

const statusOf = async (url: string) => {
  const answer = await fetch(url);
  await answer.body?.cancel();
  return answer.status;
};

Deno.test("serveMetrics + no descriptor for a connection + the process survives, and answers it later", async () => {
  const child = spawnServer(SERVES_WITHOUT_DESCRIPTORS);
  const url = await child.line();
  assertEquals(await child.line(), "full");
  // The kernel has accepted the connection; the process cannot yet.
  assertEquals(await statusOf(url), 200);
  assertEquals(await statusOf(url), 200);
  assertEquals(await child.end(), "");
});

/** Malformed or unsupported requests. */
const MALFORMED = [
  "GARBAGE\r\n\r\n",
  "GET\r\n\r\n",
  "GET  HTTP/1.1\r\n\r\n",
  "GET /metrics HTTP/9.9\r\n\r\n",
  "G\0T /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
  "GET /metrics HTTP/1.1\r\nHost a\r\n\r\n",
  "GET /metrics HTTP/1.1\r\n\r\n",
  "GET http://[ HTTP/1.1\r\nHost: a\r\n\r\n",
  "GET //[ HTTP/1.1\r\nHost: a\r\n\r\n",
  "GET /%zz HTTP/1.1\r\nHost: [\r\n\r\n",
  "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
  "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
  "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
  "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nz",
  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
  `GET /${"x".repeat(100_000)} HTTP/1.1\r\nHost: a\r\n\r\n`,
  `GET / HTTP/1.1\r\nHost: a\r\n${"X: y\r\n".repeat(20_000)}\r\n`,
];

Deno.test("serveMetrics + a client that does not speak HTTP + it is refused or closed, and nothing is logged", async () => {
  const child = spawnServer(SERVES);
  const url = await child.line();
  const { hostname, port } = new URL(url);
  for (const text of MALFORMED) {
    using connection = await Deno.connect({ hostname, port: Number(port) });
    const answer = new Uint8Array(64);
    let count: number | null = 0;
    try {
      await connection.write(Uint8Array.from(text, (letter) => letter.charCodeAt(0)));
      count = await connection.read(answer);
    } catch (error) {
      const { ConnectionReset, BrokenPipe } = Deno.errors;
      if (!(error instanceof ConnectionReset || error instanceof BrokenPipe)) throw error;
    }
    const words = new TextDecoder().decode(answer.subarray(0, count ?? 0));
    assertMatch(words, /^$|^HTTP\/1\.1 4\d\d /, text.slice(0, 60));
  }
  assertEquals(await statusOf(url), 200);
  // A malformed request line once caused a 500, and seven lines of stack trace here.
  assertEquals(await child.end(), "");
});
