/**
 * The disk of a file: its requests, against a model and one by one.
 */

import { assert, assertEquals } from "@std/assert";
import { RingRequests } from "../tests/ring_requests.ts";
import { allocatedBytes, Scratch } from "../tests/scratch.ts";
import { EIO, ENOSPC } from "../uapi/errno.ts";
import {
  UBLK_IO_F_FUA,
  UBLK_IO_F_NOUNMAP,
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_WRITE_ZEROES,
} from "../uapi/ublk_io.ts";
import { Dice } from "../uapi/dice.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { file } from "./loop.ts";
import { eachSeed } from "../tests/seeds.ts";
import { compare, FILL, read, sectors, write } from "../tests/disk_io.ts";

// Opened once for the process, and before the tests, whose sanitizer would report a leak.
openAllOfLibc();

const MIB = 1 << 20;
const isRoot = Deno.uid() === 0;

Deno.test("file is the disk that its model is, buffered and direct", async (t) => {
  await eachSeed(t, 3, async (seed) => {
    using scratch = new Scratch();
    await compare(file(scratch.file("a", 2 * MIB)), seed);
    await compare(file(scratch.file("b", 2 * MIB), { direct: true, blockSize: 4096 }), seed);
  });
});

Deno.test("file goes on after short reads and writes", async (t) => {
  await eachSeed(t, 3, async (seed) => {
    using scratch = new Scratch();
    await compare(file(scratch.file("a", 2 * MIB)), seed, new Dice(seed));
  });
});

Deno.test({
  name: "file is the disk that its model is on a tmpfs, which has no FALLOC_FL_ZERO_RANGE",
  ignore: !isRoot,
  fn: async () => {
    using scratch = new Scratch("16M");
    await compare(file(scratch.file("a", 2 * MIB)), 4);
  },
});

Deno.test("file has the size, the holes and the abilities of its file", async () => {
  using scratch = new Scratch();
  const path = scratch.file("a", 10 * MIB + 100);
  await using disk = await RingRequests.open(file(path, { blockSize: 4096 }));
  const { size, blockSize, synchronous, persistent, fua, flush, trim, readOnly } = disk.backend;
  assertEquals([size, blockSize, readOnly], [10 * MIB, 4096, false]);
  assertEquals([synchronous, persistent, fua, !!flush, !!trim], [true, true, true, true, true]);
  disk.io(write(MIB, FILL));
  assert(allocatedBytes(path) < MIB, "a file with holes keeps them");
});

Deno.test("file discards by punching holes, and zeroes with and without giving space back", async () => {
  using scratch = new Scratch();
  const path = scratch.file("a", MIB);
  await using disk = await RingRequests.open(file(path));
  const range = { sector: 0, sectors: sectors(FILL.length) };
  const cases = [
    { io: { op: UBLK_IO_OP_DISCARD }, keeps: false },
    { io: { op: UBLK_IO_OP_WRITE_ZEROES }, keeps: false },
    { io: { op: UBLK_IO_OP_WRITE_ZEROES, flags: UBLK_IO_F_NOUNMAP }, keeps: true },
  ];
  for (const { io, keeps } of cases) {
    disk.io(write(0, FILL));
    assertEquals(disk.io({ op: UBLK_IO_OP_FLUSH }).result, 0);
    assertEquals(disk.io({ ...io, ...range }).result, 0);
    assertEquals(disk.io(read(0, FILL.length)).data, new Uint8Array(FILL.length));
    assertEquals(allocatedBytes(path) >= FILL.length, keeps);
  }
});

Deno.test({
  name: "file keeps the space of zeroes where the filesystem has no FALLOC_FL_ZERO_RANGE",
  ignore: !isRoot,
  fn: async () => {
    using scratch = new Scratch("16M");
    const path = scratch.file("a", MIB);
    await using disk = await RingRequests.open(file(path));
    const io = { op: UBLK_IO_OP_WRITE_ZEROES, sectors: 128, flags: UBLK_IO_F_NOUNMAP };
    for (const expected of [3, 2]) {
      disk.io(write(0, FILL));
      disk.queued.length = 0;
      assertEquals(disk.io(io).result, 0);
      assertEquals(disk.queued.length, expected, "it is asked for in vain only once");
      assertEquals(disk.io(read(0, FILL.length)).data, new Uint8Array(FILL.length));
      assertEquals(allocatedBytes(path), FILL.length);
    }
  },
});

Deno.test("file syncs for FLUSH and after a write with FUA, and only then", async () => {
  using scratch = new Scratch();
  await using disk = await RingRequests.open(file(scratch.file("a", MIB)));
  const names = () => disk.queued.splice(0).map(({ name }) => name);
  assertEquals(disk.io(write(0, FILL)).result, FILL.length);
  assertEquals(names(), ["write"]);
  assertEquals(disk.io(write(0, FILL, UBLK_IO_F_FUA)).result, FILL.length);
  assertEquals(names(), ["write", "fsync"]);
  assertEquals(disk.io({ op: UBLK_IO_OP_FLUSH }).result, 0);
  assertEquals(names(), ["fsync"]);
});

Deno.test({
  name: "file says ENOSPC where the filesystem is full, and lives",
  ignore: !isRoot,
  fn: async () => {
    using scratch = new Scratch("512K");
    await using disk = await RingRequests.open(file(scratch.file("a", 4 * MIB)));
    const results: number[] = [];
    for (let at = 0; at < MIB; at += FILL.length) results.push(disk.io(write(at, FILL)).result!);
    assertEquals(results[0], FILL.length);
    assertEquals(results.at(-1), -ENOSPC);
    const range = { sector: 0, sectors: sectors(MIB) };
    assertEquals(disk.io({ op: UBLK_IO_OP_DISCARD, ...range }).result, 0);
    assertEquals(disk.io(write(MIB, FILL)).result, FILL.length, "there is space again");
  },
});

Deno.test("file says EIO where its file has shrunk, and lives", async () => {
  for (const options of [{}, { direct: true, blockSize: 4096 }]) {
    using scratch = new Scratch();
    const path = scratch.file("a", MIB);
    await using disk = await RingRequests.open(file(path, options));
    Deno.truncateSync(path, MIB / 2 + 700);
    assertEquals(disk.io(read(MIB / 2, 8192)).result, -EIO, "a part of it is there");
    assertEquals(disk.io(read(MIB - 8192, 8192)).result, -EIO, "none of it is there");
    assertEquals(disk.io(read(0, 8192)).result, 8192);
  }
});
