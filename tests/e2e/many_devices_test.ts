/**
 * More devices in one process than Deno's pool has threads.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { type Backend, serve, type ServedDevice } from "../../mod.ts";
import { sh } from "./_disk.ts";
import { assertAsBefore, settled } from "./_held.ts";

/** The pool has 32 threads, for all devices and all files. */
const DEVICES = 40;
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
Deno.test("40 devices of one process start, answer and stop, eight at a time, while files are read", async () => {
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
