/**
 * A file that grows and shrinks.
 */

import { assertEquals, assertThrows } from "@std/assert";
import { RingRequests } from "../tests/ring_requests.ts";
import { Scratch } from "../tests/scratch.ts";
import { EIO } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { UBLK_IO_OP_FLUSH } from "../uapi/ublk_io.ts";
import { libc, openAllOfLibc } from "../uring/libc.ts";
import { loadBackend } from "../disk/load.ts";
import { file } from "./loop.ts";
import { FILL, read, write } from "../tests/disk_io.ts";

// Opened once for the process, and before the tests, whose sanitizer would report a leak.
openAllOfLibc();

const MIB = 1 << 20;
const isRoot = Deno.uid() === 0;

Deno.test("file grows and shrinks its file", async () => {
  using scratch = new Scratch();
  const path = scratch.file("a", MIB);
  await using disk = await RingRequests.open(file(path));
  const length = () => Deno.statSync(path).size;
  await disk.backend.resize!(2 * MIB);
  assertEquals([disk.backend.size, length()], [2 * MIB, 2 * MIB]);
  assertEquals(disk.io(write(2 * MIB - FILL.length, FILL)).result, FILL.length);
  await disk.backend.resize!(MIB / 2);
  assertEquals([disk.backend.size, length()], [MIB / 2, MIB / 2]);
  Deno.truncateSync(path, 3 * MIB);
  await disk.backend.resize!(MIB);
  assertEquals([disk.backend.size, length()], [MIB, 3 * MIB], "who made it longer keeps it");
  assertThrows(() => disk.backend.resize!(1000), UblkError, "multiple of 512");
});

Deno.test("file + a growth that is undone + its files have the length that they had", async () => {
  using scratch = new Scratch();
  const [path, metadataPath] = [scratch.file("data", MIB), scratch.file("meta", 2048 * 8)];
  const loaded = await loadBackend(file(path, { metadataPath, metadataSize: 8 }));
  const shared = await loaded.share();
  const threads = [await loaded.open(0, shared), await loaded.open(1, shared)];
  const lengths = () => [path, metadataPath].map((name) => Deno.statSync(name).size);
  for (
    const [data, metadata] of [
      [MIB, 2048 * 8],
      // Longer than the disk, and below or beyond its next size. Such files were once cut to 1 MiB.
      [MIB * 1.5, 3072 * 8],
      [3 * MIB, 6144 * 8],
    ]
  ) {
    Deno.truncateSync(path, data);
    Deno.truncateSync(metadataPath, metadata);
    for (const undoing of [threads, threads.toReversed(), threads.slice(0, 1)]) {
      const growing = undoing.length === 1 ? undoing : threads;
      for (const thread of growing) await thread.resize!(2 * MIB);
      assertEquals(lengths(), [Math.max(data, 2 * MIB), Math.max(metadata, 4096 * 8)]);
      for (const thread of undoing) await thread.resize!(MIB);
      assertEquals(lengths(), [data, metadata]);
      assertEquals(threads.map(({ size }) => size), [MIB, MIB]);
    }
  }
  await loaded.unshare(shared);
});

Deno.test({
  name: "file + a growth that fails half way + the undo takes it back",
  ignore: !isRoot,
  fn: async () => {
    using scratch = new Scratch();
    using small = new Scratch("128K");
    const [path, metadataPath] = [scratch.file("data", MIB), small.file("meta", 2048 * 8)];
    await using disk = await RingRequests.open(file(path, { metadataPath, metadataSize: 8 }), 8);
    const lengths = () => [path, metadataPath].map((name) => Deno.statSync(name).size);
    // There is no room for its metadata.
    assertThrows(() => disk.backend.resize!(64 * MIB), UblkError, "pwrite");
    assertEquals(lengths(), [64 * MIB, MIB]);
    await disk.backend.resize!(MIB);
    assertEquals([disk.backend.size, ...lengths()], [MIB, MIB, 2048 * 8]);
  },
});

Deno.test("file served read-only grows only with its file", async () => {
  using scratch = new Scratch();
  const path = scratch.file("a", MIB);
  await using disk = await RingRequests.open(file(path, { readOnly: true }));
  assertEquals([disk.backend.readOnly, disk.backend.trim], [true, undefined]);
  assertThrows(() => disk.backend.resize!(2 * MIB), UblkError, "read-only");
  Deno.truncateSync(path, 2 * MIB);
  await disk.backend.resize!(2 * MIB);
  assertEquals(disk.backend.size, 2 * MIB);
  // With metadata: holes in a read-only file stay holes. They were once filled, which failed.
  const metadataPath = scratch.file("meta", 4096 * 8);
  const options = { readOnly: true, metadataPath, metadataSize: 8 };
  await using other = await RingRequests.open(file(path, options), 8);
  Deno.truncateSync(path, 3 * MIB);
  Deno.truncateSync(metadataPath, 6144 * 8);
  await other.backend.resize!(3 * MIB);
  assertEquals(other.backend.size, 3 * MIB);
});

// The kernel has told of the failure then, and tells a flush of it no more.
Deno.test("file + a growth whose fdatasync fails + no later flush succeeds", async () => {
  using scratch = new Scratch();
  const [path, metadataPath] = [scratch.file("data", MIB), scratch.file("meta", 2048 * 8)];
  await using disk = await RingRequests.open(file(path, { metadataPath, metadataSize: 8 }), 8);
  const calls = libc() as { fdatasync: (fd: number) => number };
  const { fdatasync } = calls;
  // No descriptor: EBADF.
  calls.fdatasync = () => fdatasync(-1);
  try {
    assertThrows(() => disk.backend.resize!(2 * MIB), UblkError, "fdatasync");
  } finally {
    calls.fdatasync = fdatasync;
  }
  assertEquals(disk.io({ op: UBLK_IO_OP_FLUSH }).result, -EIO);
  assertEquals(disk.io(read(0, 4096)).result, 4096);
});
