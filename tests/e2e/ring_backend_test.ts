/**
 * Backends that work through the serving thread's own ring, and those that wait for its ring of
 * Promises.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { ringFiles, serve, type ServedDevice } from "../../mod.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { asyncFile, open, STUCK_AT } from "../backends/async_file.ts";
import { ringFile } from "../backends/ring_file.ts";
import { run } from "./_misbehaving.ts";

openAllOfLibc();

const SIZE = 64 << 20;

/** A sparse file of that size, removed at the end. */
function sparseFile(): { path: string } & Disposable {
  const path = Deno.makeTempFileSync();
  Deno.truncateSync(path, SIZE);
  return { path, [Symbol.dispose]: () => Deno.removeSync(path) };
}

/** Has fio write so much of a disk and verify it; the file behind the disk then has the same bytes. */
async function verify(device: ServedDevice, path: string, size: string): Promise<void> {
  const { code, stdout, stderr } = await run(
    "fio",
    "--name=verify",
    `--filename=${device.path}`,
    "--rw=randwrite",
    "--bsrange=512-256k",
    "--bs_unaligned=0",
    "--blockalign=512",
    `--size=${size}`,
    "--direct=1",
    "--ioengine=libaio",
    "--iodepth=32",
    "--verify=crc32c",
    "--fsync=64",
  );
  assertEquals(code, 0, stdout + stderr);
  assert(device.stats().total.flushes > 0);
  assertEquals(device.stats().total.errors, 0);
  assertEquals((await run("cmp", path, device.path)).code, 0);
}

Deno.test("serve() + ring backend with 4 queues + the file gets what fio verifies", async () => {
  using file = sparseFile();
  await using device = await serve({ backend: ringFile(file.path, SIZE), queues: 4 });
  assertEquals(device.info().queues, 4);
  await verify(device, file.path, "32M");
});

Deno.test("serve() + ring backend + discard punches the file", async () => {
  using file = sparseFile();
  await using device = await serve({ backend: ringFile(file.path, SIZE) });
  await run("dd", "if=/dev/urandom", `of=${device.path}`, "bs=1M", "count=16", "oflag=direct");
  const before = Deno.statSync(file.path).blocks!;
  assert(before >= 16 * 2048);
  assertEquals((await run("blkdiscard", device.path)).code, 0);
  assert(Deno.statSync(file.path).blocks! < before / 8);
});

Deno.test("serve() + ring backend whose file has shrunk + reader gets EIO, device lives", async () => {
  using file = sparseFile();
  await using device = await serve({ backend: ringFile(file.path, SIZE) });
  Deno.truncateSync(file.path, SIZE / 2);
  const read = (skip: number) =>
    run(
      "dd",
      `if=${device.path}`,
      "of=/dev/null",
      "bs=1M",
      "count=1",
      `skip=${skip}`,
      "iflag=direct",
    );
  assertStringIncludes((await read(48)).stderr, "Input/output error");
  assertEquals((await read(0)).code, 0);
});

Deno.test("serve() + a backend that waits for its ring's Promises + fio verifies its file", async () => {
  using file = sparseFile();
  await using device = await serve({ backend: asyncFile(file.path, SIZE), queues: 2 });
  await verify(device, file.path, "16M");
  // A discard punches the file.
  assertEquals((await run("blkdiscard", device.path)).code, 0);
  assert(Deno.statSync(file.path).blocks! < 2048);
});

Deno.test("serve() + a read by the ring that never ends + misses its deadline, the disk goes on and closes", async () => {
  using file = sparseFile();
  const folder = Deno.makeTempDirSync();
  const fifo = `${folder}/fifo`;
  await run("mkfifo", fifo);
  const read = (path: string, at: number) =>
    run(
      "dd",
      `if=${path}`,
      "of=/dev/null",
      "bs=4k",
      "count=1",
      `skip=${at / 4096}`,
      "iflag=direct",
    );
  {
    const backend = asyncFile(file.path, SIZE, fifo);
    // No other read may miss it, however slow the machine is.
    await using device = await serve({ backend, deadlineMs: 5000 });
    assertEquals((await read(device.path, STUCK_AT)).code, 1);
    assertEquals((await read(device.path, 0)).code, 0);
    assertEquals(device.stats().total.timeouts, 1);
  }
  Deno.removeSync(folder, { recursive: true });
});

Deno.test("serve() + an object that reads by ringFiles() + the disk is the file", async () => {
  using file = sparseFile();
  const bytes = crypto.getRandomValues(new Uint8Array(1 << 16));
  Deno.writeFileSync(file.path, bytes);
  Deno.truncateSync(file.path, SIZE);
  await using ring = ringFiles();
  const { options } = asyncFile(file.path, SIZE);
  const backend = await open(options, {
    queue: 0,
    shared: undefined,
    inner: [],
    ring,
    recovering: false,
  });
  {
    await using device = await serve({ backend });
    assertEquals((await run("cmp", file.path, device.path)).code, 0);
    assertEquals((await run("blkdiscard", "-z", "-l", "32768", device.path)).code, 0);
  }
  assertEquals(Deno.readFileSync(file.path).slice(32768, 1 << 16), bytes.slice(32768));
  assert(Deno.readFileSync(file.path).slice(0, 32768).every((byte) => byte === 0));
});
