/**
 * More devices in one process than Deno's pool has threads. UBLK_TEST_DEVICES sets their number: an
 * emulated guest takes over a second to start a device.
 *
 * @module
 */

import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { type Backend, serve, type ServedDevice } from "../../mod.ts";
import { programPath } from "../bundles.ts";
import { LIMIT_MS, Running, sleep } from "./_command.ts";
import { sh } from "./_disk.ts";
import { assertAsBefore, settled } from "./_held.ts";
import { wakings } from "./_wakings.ts";

/** The pool has 32 threads, for all devices and all files of a thread. */
const DEVICES = Number(Deno.env.get("UBLK_TEST_DEVICES") ?? 40);
/** The number of those with a Worker each, whose pool is their own: so few show as much. */
const WORKERS = Number(Deno.env.get("UBLK_TEST_DEVICES") ?? 8);
/** How many start at once. */
const AT_ONCE = 8;

function disk(): Backend {
  const bytes = new Uint8Array(1 << 20);
  return {
    size: bytes.length,
    readAt: (buffer, offset) => buffer.set(bytes.subarray(offset, offset + buffer.length)),
    writeAt: (buffer, offset) => bytes.set(buffer, offset),
  };
}

/** Reads as many files at once as the pool has threads. */
async function readFiles(): Promise<void> {
  await Promise.all(Array.from({ length: 32 }, () => Deno.readTextFile("/proc/self/stat")));
}

// The 33rd device of a process never worked: each object backend held a thread of the pool for as
// long as it lived. Nor was any file read then.
Deno.test("many devices of one thread start, answer and stop, eight at a time, while files are read", async () => {
  // Deno keeps a descriptor of its first Worker.
  await (await serve({ backend: disk() })).stop();
  const before = await settled();
  const devices: ServedDevice[] = [];
  while (devices.length < DEVICES) {
    const some = Array.from({ length: AT_ONCE }, () => serve({ backend: disk(), depth: 16 }));
    devices.push(...await Promise.all(some));
    await readFiles();
  }
  const copy = "dd if=/dev/urandom of=$disk bs=4k count=1 oflag=direct status=none && " +
    "dd if=$disk bs=4k count=1 iflag=direct status=none | wc -c";
  const script = `for disk in ${devices.map(({ path }) => path).join(" ")}; do ${copy}; done`;
  assertEquals((await sh(script)).split("\n"), Array(DEVICES).fill("4096"));
  await readFiles();
  await Promise.all(devices.map((device) => device.stop()));
  const reasons = await Promise.all(devices.map(async ({ closed }) => (await closed).reason));
  assertEquals(new Set(reasons), new Set(["deleted"]));
  await assertAsBefore(before);
});

/** The paths that the server has printed, once there are all of them. */
async function paths(server: Running): Promise<string[]> {
  let printed = 0;
  for (let quietMs = 0; printed < WORKERS; quietMs += 50) {
    const found = server.stdout.split("\n").length - 1;
    if (found > printed) [printed, quietMs] = [found, 0];
    assert(quietMs < LIMIT_MS, `${printed} devices; stderr: ${server.stderr}`);
    await sleep(50);
  }
  return server.stdout.trim().split("\n");
}

Deno.test("many devices with Promises and a Worker each sleep together, and each answers at once", async () => {
  const script = programPath("tests/e2e/_many_server.ts");
  const command = ["run", "-A", "--no-check", script, `${WORKERS}`];
  await using server = new Running([Deno.execPath(), ...command]);
  const disks = await paths(server);
  const windows = await wakings(server.pid);
  assertEquals(windows.at(-1), [], JSON.stringify(windows));
  // Two threads each: the Worker's own, and the one that sleeps for it.
  const threads = [...Deno.readDirSync(`/proc/${server.pid}/task`)].length;
  assertLessOrEqual(threads, 2 * WORKERS + 20);
  const read = "timeout 60 dd if=$disk bs=4k count=1 iflag=direct status=none | wc -c";
  const all = `for disk in ${disks.join(" ")}; do (${read}) & done; wait`;
  assertEquals((await sh(all)).split("\n"), Array(WORKERS).fill("4096"));
});
