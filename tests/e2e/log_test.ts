/**
 * The log never makes a request wait.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { programPath } from "../bundles.ts";
import { FIO, sh, ublkNodes } from "./_disk.ts";

const REQUESTS = 2000;
/** How much longer a run with every request traced may take, beside the noise of a busy machine. */
const CRAWL = 4;
const NOISE_MS = 5_000;

/** What a run of fio against a server whose main thread is blocked came to. */
interface Run {
  readonly ms: number;
  readonly requests: number;
  readonly logDropped: number;
}

async function runWith(style: "sync" | "async", level: number): Promise<Run> {
  const script = programPath("tests/e2e/_trace_server.ts");
  const server = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", script, style, `${level}`],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const lines = server.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const path = (await lines.read()).value!.trim();
  const started = performance.now();
  await sh(
    `timeout 120 ${FIO} --filename=$disk --rw=randrw --bs=4K --iodepth=32 --numjobs=2 \
      --size=16M --number_ios=${REQUESTS / 2}`,
    { disk: path },
  );
  const ms = performance.now() - started;
  await server.stdin.close();
  const { requests, logDropped } = JSON.parse((await lines.read()).value!);
  await lines.cancel();
  assertEquals((await server.status).code, 0);
  return { ms, requests, logDropped };
}

/** What a run may take that is traced, beside one that is not. */
const limitMs = (quiet: Run) => CRAWL * quiet.ms + NOISE_MS;

/** A run that traces nothing, and one that traces each request; what they count is right. */
async function runBoth(style: "sync" | "async"): Promise<[quiet: Run, traced: Run]> {
  const quiet = await runWith(style, 30);
  const traced = await runWith(style, 5);
  for (const { requests } of [quiet, traced]) {
    // The kernel may read the disk too, when it looks for partitions.
    assert(requests >= REQUESTS && requests < REQUESTS + 200, `${requests} requests`);
  }
  assertEquals(quiet.logDropped, 0);
  // Two records for each request, and two rings of 1,024.
  assertGreater(traced.logDropped, 2 * REQUESTS - 2 * 1024 - 1);
  return [quiet, traced];
}

for (const style of ["sync", "async"] as const) {
  Deno.test(`serve() + ${style} backend, every request traced, nobody reads + as fast, and drops are counted`, async () => {
    const nodes = ublkNodes();
    let [quiet, traced] = await runBoth(style);
    // What else the machine had to do may have come in one run alone: that does not happen twice.
    if (traced.ms >= limitMs(quiet)) [quiet, traced] = await runBoth(style);
    assertLess(traced.ms, limitMs(quiet));
    assertEquals(ublkNodes(), nodes);
  });
}
