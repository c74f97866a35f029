/**
 * Integrity metadata in a second file.
 */

import { assert, assertEquals } from "@std/assert";
import { RingRequests } from "../tests/ring_requests.ts";
import { Scratch } from "../tests/scratch.ts";
import {
  UBLK_IO_F_FUA,
  UBLK_IO_F_NOUNMAP,
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_WRITE_ZEROES,
} from "../uapi/ublk_io.ts";
import { libc, openAllOfLibc } from "../uring/libc.ts";
import { loadBackend } from "../disk/load.ts";
import { file } from "./loop.ts";
import { FILL, read, sectors, write } from "../tests/disk_io.ts";

// Opened once for the process, and before the tests, whose sanitizer would report a leak.
openAllOfLibc();

const MIB = 1 << 20;

Deno.test("file keeps integrity metadata in a second file", async () => {
  using scratch = new Scratch();
  const [path, metadataPath] = [scratch.file("data", MIB), scratch.file("meta", 1000 * 8)];
  const spec = file(path, { metadataPath, metadataSize: 8 });
  {
    await using disk = await RingRequests.open(spec, 8);
    assertEquals(disk.backend.size, 1000 * 512, "it ends where either file does");
    assertEquals(disk.backend.ring!.metadata, true);
    assertEquals(disk.io(read(0, 4096)).result, 4096);
    assertEquals(disk.lastMetadata, new Uint8Array(64).fill(0xff), "nothing to check");
    const tags = Uint8Array.from({ length: 64 }, (_, index) => index);
    const data = FILL.subarray(0, 4096);
    assertEquals(disk.io(write(8192, data), tags).result, 4096);
    assertEquals(disk.io(read(8192, 4096)).data, data);
    assertEquals(disk.lastMetadata, tags);
    assertEquals(disk.widest, 2, "data and metadata go together");
    const halves: number[] = [];
    disk.shorten = (bytes) => (halves.push(bytes), bytes > 2048 ? bytes - 2048 : bytes);
    assertEquals(disk.io(read(8192, 4096)).data, data);
    assertEquals(disk.lastMetadata, tags);
    assert(halves.length > 1, "it was read short");
  }
  await using again = await RingRequests.open(spec, 8);
  again.io(read(8192, 512));
  assertEquals(again.lastMetadata, Uint8Array.from({ length: 8 }, (_, i) => i), "it has stayed");
});

Deno.test("file + integrity metadata + FLUSH and FUA make it durable beside the data", async () => {
  using scratch = new Scratch();
  const [path, metadataPath] = [scratch.file("data", MIB), scratch.file("meta", 2048 * 8)];
  const spec = file(path, { metadataPath, metadataSize: 8 });
  const fua = write(0, FILL.subarray(0, 4096), UBLK_IO_F_FUA);
  const tags = new Uint8Array(64).fill(7);
  {
    await using disk = await RingRequests.open(spec, 8);
    assertEquals(disk.io(fua, tags).result, 4096);
    const [data, metadata, ...syncs] = disk.queued.splice(0);
    assertEquals([data.name, metadata.name], ["write", "writeMetadata"]);
    const both = [data, metadata].map(({ args: [fd] }) => {
      return { name: "fsync" as const, args: [fd, 1] };
    });
    assertEquals(syncs, both);
    assertEquals(disk.io({ op: UBLK_IO_OP_FLUSH }).result, 0);
    assertEquals(disk.queued.splice(0), both);
  }
  await using disk = await RingRequests.open(spec, 0);
  assertEquals(disk.io(fua).result, 4096);
  const names = disk.queued.map(({ name }) => name);
  assertEquals(names, ["write", "fsync", "fsync"], "a write that has none changes it too");
});

Deno.test("file + integrity metadata + a write that has none leaves nothing to check", async () => {
  using scratch = new Scratch();
  const [path, metadataPath] = [scratch.file("data", MIB), scratch.file("meta", 2048 * 8)];
  const spec = file(path, { metadataPath, metadataSize: 8 });
  const tags = new Uint8Array(64).fill(7);
  {
    await using disk = await RingRequests.open(spec, 8);
    assertEquals(disk.io(write(8192, FILL.subarray(0, 4096)), tags).result, 4096);
  }
  {
    // The block layer was told to make no metadata, or the disk is served without integrity.
    await using disk = await RingRequests.open(spec, 0);
    assertEquals(disk.backend.ring!.plainFd, undefined);
    assertEquals(disk.io(write(8704, FILL.subarray(0, 512))).result, 512);
  }
  await using disk = await RingRequests.open(spec, 8);
  disk.io(read(8192, 4096));
  assertEquals(disk.lastMetadata, tags.map((tag, at) => at >= 8 && at < 16 ? 0xff : tag));
});

Deno.test("file + integrity metadata + what fills its holes is made durable, once", async () => {
  using scratch = new Scratch();
  const [path, metadataPath] = [scratch.file("data", MIB), scratch.file("meta", 2048 * 8)];
  const calls = libc() as { fdatasync: (fd: number) => number };
  const { fdatasync } = calls;
  let syncs = 0;
  calls.fdatasync = (fd) => (syncs++, fdatasync(fd));
  try {
    const loaded = await loadBackend(file(path, { metadataPath, metadataSize: 8 }));
    await loaded.unshare(await loaded.share());
    assertEquals(syncs, 1);
    const shared = await loaded.share();
    assertEquals(syncs, 1, "there are no holes any more");
    const threads = [await loaded.open(0, shared), await loaded.open(1, shared)];
    for (const thread of threads) await thread.resize!(2 * MIB);
    assertEquals(syncs, 2);
    await loaded.unshare(shared);
  } finally {
    calls.fdatasync = fdatasync;
  }
});

Deno.test("file + integrity metadata + what is discarded or zeroed has nothing to check", async () => {
  using scratch = new Scratch();
  const [path, metadataPath] = [scratch.file("data", MIB), scratch.file("meta", 2048 * 8)];
  await using disk = await RingRequests.open(file(path, { metadataPath, metadataSize: 8 }), 8);
  const tags = new Uint8Array(64).fill(7);
  const unchecked = new Uint8Array(32).fill(0xff);
  const metadataAt = (offset: number, bytes: number) =>
    Deno.readFileSync(metadataPath).slice(offset / 64, (offset + bytes) / 64);
  // The old metadata must go before the data changes.
  const before: Uint8Array[] = [];
  const { fallocate } = disk;
  disk.fallocate = (fd, mode, offset, length) => {
    before.push(metadataAt(offset, length));
    fallocate.call(disk, fd, mode, offset, length);
  };
  for (
    const io of [
      { op: UBLK_IO_OP_DISCARD },
      { op: UBLK_IO_OP_WRITE_ZEROES },
      { op: UBLK_IO_OP_WRITE_ZEROES, flags: UBLK_IO_F_NOUNMAP },
    ]
  ) {
    assertEquals(disk.io(write(8192, FILL.subarray(0, 4096)), tags).result, 4096);
    const range = { sector: sectors(8192 + 1024), sectors: sectors(2048) };
    assertEquals(disk.io({ ...io, ...range }).result, 0);
    assertEquals(before.pop(), unchecked);
    assertEquals(disk.io(read(8192 + 1024, 2048)).data, new Uint8Array(2048));
    assertEquals(disk.lastMetadata, unchecked);
    disk.io(read(8192, 1024));
    assertEquals(disk.lastMetadata, tags.subarray(0, 16), "what is before it stays");
    disk.io(read(8192 + 3072, 1024));
    assertEquals(disk.lastMetadata, tags.subarray(0, 16), "and what is behind it");
  }
});
