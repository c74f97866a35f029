/**
 * Volumes as disks of this thread that are left while their store is away, or was.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { DiskHost } from "../disk/host.ts";
import { FakeS3 } from "../store/s3/fake_bucket.ts";
import { Scratch } from "../tests/scratch.ts";
import { ETIMEDOUT } from "../uapi/errno.ts";
import { UBLK_IO_OP_FLUSH, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { openDisk, type VolumeDisk } from "./open_disk.ts";
import { Volume } from "./volume.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const BLOCK = 4096;
const filled = (byte: number) => new Uint8Array(BLOCK).fill(byte);
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

// Regression: a FLUSH that its deadline had answered waited on in the engine. Closing waited for it, and
// listened no more to the drain, without which nothing answered it: not even the store's return.
for (const durability of ["local", "store"] as const) {
  Deno.test(`a disk + closed while a FLUSH waits for its store (${durability}) + is left once that is back`, async () => {
    using scratch = new Scratch();
    using _environment = withCredentials();
    await using server = new FakeS3();
    await Volume.create("v", { store: server.url, size: "16M" });
    const options = optionsOf(server, scratch, durability);
    const disk = await openDisk(options);
    const host = DiskHost.of({ ...disk, size: disk.size, close: undefined });
    const write = (nth: number) => {
      const buffer = filled(nth + 1);
      return host.request({ op: UBLK_IO_OP_WRITE, offset: nth * BLOCK, length: BLOCK, buffer });
    };
    const flush = (ms: number) => host.request({ op: UBLK_IO_OP_FLUSH, offset: 0, length: 0 }, ms);
    assertEquals([await write(0), await flush(20_000)], [BLOCK, 0]);
    server.faults = () => "reset";
    await pause(1500);
    assertEquals([await write(1), await flush(100)], [BLOCK, -ETIMEDOUT]);
    let isClosed = false;
    const closed = Promise.resolve(disk.close!()).then(() => isClosed = true);
    await pause(1500);
    assertEquals(isClosed, false);
    server.faults = undefined;
    // The drain may be in its longest pause, of 10 s, when the store is back.
    const late = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => late.resolve(false), 60_000);
    assertEquals(await Promise.race([closed, late.promise]), true);
    clearTimeout(timer);
    await host.close();
    const again = await openDisk(options);
    for (const nth of [0, 1]) {
      const found = new Uint8Array(BLOCK);
      await again.readAt(found, nth * BLOCK);
      assertEquals(found, filled(nth + 1));
    }
    await again.close!();
  });
}

// Regression: FLUSHes that wait for the lease kept their places after their deadlines, until no other
// request had one.
Deno.test("a disk + more FLUSHes than it has places wait for the lease + they fail at their deadline, and all else goes on", async () => {
  using scratch = new Scratch();
  using _environment = withCredentials();
  await using server = new FakeS3();
  await Volume.create("v", { store: server.url, size: "16M" });
  const disk = await openDisk(optionsOf(server, scratch, "local"), 2000);
  await disk.writeAt(filled(1), 0, { fua: true });
  server.faults = () => "reset";
  await pause(1500);
  const flushes = Array.from({ length: 200 }, async () => await disk.flush!());
  const outcomes = new Set((await Promise.allSettled(flushes)).map(({ status }) => status));
  assertEquals(outcomes, new Set(["rejected"]));
  await disk.writeAt(filled(2), BLOCK, { fua: false });
  for (const nth of [0, 1]) {
    const found = new Uint8Array(BLOCK);
    await disk.readAt(found, nth * BLOCK);
    assertEquals(found, filled(nth + 1));
  }
  server.faults = undefined;
  // A lease is renewed after some attempts.
  for (let isFlushed = false; !isFlushed;) {
    isFlushed = await Promise.resolve(disk.flush!()).then(() => true, () => false);
  }
  await disk.writeAt(filled(3), 2 * BLOCK, { fua: true });
  await disk.close!();
});

function optionsOf(
  server: FakeS3,
  scratch: Scratch,
  durability: VolumeDisk["durability"],
): VolumeDisk {
  return {
    ...{ name: "v", store: server.url, journal: scratch.path, journalBytes: 16 << 20 },
    ...{ withoutJournal: false, force: false, leaseMs: 1000, whenFull: "wait", readOnly: false },
    durability,
  };
}

/** Puts the credentials into the environment. */
function withCredentials(): Disposable {
  const variables = { AWS_ACCESS_KEY_ID: "AK", AWS_SECRET_ACCESS_KEY: "a-secret-of-the-test" };
  const before = Object.keys(variables).map((name) => [name, Deno.env.get(name)] as const);
  for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
  return {
    [Symbol.dispose]() {
      for (const [name, value] of before) {
        if (value === undefined) Deno.env.delete(name);
        else Deno.env.set(name, value);
      }
    },
  };
}
