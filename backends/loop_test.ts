import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { DiskModel } from "../tests/disk_model.ts";
import { RingRequests } from "../tests/ring_requests.ts";
import { allocatedBytes, run, Scratch } from "../tests/scratch.ts";
import { OpenedDisk } from "../disk/opened.ts";
import { runChild } from "../tests/seccomp.ts";
import { EIO, ENOSPC } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import {
  UBLK_IO_F_FUA,
  UBLK_IO_F_NOUNMAP,
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
} from "../uapi/ublk_io.ts";
import { Dice } from "../uapi/dice.ts";
import { libc, openAllOfLibc } from "../uring/libc.ts";
import { loadBackend } from "../disk/load.ts";
import { file, type FileOptions } from "./loop.ts";
import { eachSeed } from "../tests/seeds.ts";

// Opened once for the process, and before the tests, whose sanitizer would report a leak.
openAllOfLibc();

const MIB = 1 << 20;
const isRoot = Deno.uid() === 0;
const FILL = new Uint8Array(64 << 10).fill(0x5a);
const sectors = (bytes: number) => bytes / 512;
const write = (offset: number, data: Uint8Array, flags = 0) => {
  const io = { op: UBLK_IO_OP_WRITE, sector: sectors(offset), sectors: sectors(data.length) };
  return { ...io, data, flags };
};
const read = (offset: number, bytes: number) => {
  return { op: UBLK_IO_OP_READ, sector: sectors(offset), sectors: sectors(bytes) };
};

/** Sends the same requests to a disk and to a model of it. */
async function compare(path: string, options: FileOptions, seed: number, shorten?: Dice) {
  const blockSize = options.blockSize ?? 512;
  await using disk = await RingRequests.open(file(path, options));
  if (shorten !== undefined) {
    disk.shorten = (bytes) => {
      return shorten.draw(3) > 0 ? bytes : Math.max(512, shorten.draw(bytes / 512) * 512);
    };
  }
  const model = new DiskModel(disk.backend.size, blockSize, 64 << 10, new Dice(seed));
  for (let round = 0; round < 30; round++) {
    const batch = model.batch(8);
    const requests = disk.run(batch.map(({ io }) => io));
    for (const [index, { check }] of batch.entries()) check(requests[index]);
  }
}

Deno.test("file is the disk that its model is, buffered and direct", async (t) => {
  await eachSeed(t, 3, async (seed) => {
    using scratch = new Scratch();
    await compare(scratch.file("a", 2 * MIB), {}, seed);
    await compare(scratch.file("b", 2 * MIB), { direct: true, blockSize: 4096 }, seed);
  });
});

Deno.test("file goes on after short reads and writes", async (t) => {
  await eachSeed(t, 3, async (seed) => {
    using scratch = new Scratch();
    await compare(scratch.file("a", 2 * MIB), {}, seed, new Dice(seed));
  });
});

Deno.test({
  name: "file is the disk that its model is on a tmpfs, which has no FALLOC_FL_ZERO_RANGE",
  ignore: !isRoot,
  fn: async () => {
    using scratch = new Scratch("16M");
    await compare(scratch.file("a", 2 * MIB), {}, 4);
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

/** Opens the files of a disk, which must fail with an error of one line. */
async function refused(path: string, options: FileOptions, ...words: string[]) {
  const loaded = await loadBackend(file(path, options));
  const error = await assertRejects(() => loaded.share(), UblkError);
  assertEquals(error.code, "INVALID_ARGUMENT", error.message);
  for (const word of [path, ...words]) {
    assert(error.message.includes(word), `${word} in: ${error.message}`);
  }
  assert(error.hint !== undefined && !error.message.includes("\n"), error.message);
}

Deno.test("file refuses what it cannot serve, in one line with the remedy", async () => {
  using scratch = new Scratch();
  await refused(scratch.path, {}, "it is a directory", "give a file");
  await refused(`${scratch.path}/none`, {}, "no such file", "create");
  await refused(`${scratch.path}/none/below`, {}, "no such file");
  await refused("/dev/null", {}, "it is a character device");
  await refused(scratch.file("empty", 0), {}, "0 bytes are less than a block of 512");
  const full = scratch.file("full", MIB);
  await refused(full, { create: true, size: 512 }, "loses data", "remove the file");
  const missing = `${scratch.path}/no/folder`;
  const loaded = await loadBackend(file(missing, { create: true, size: 512 }));
  await assertRejects(() => loaded.share(), UblkError, missing);
});

Deno.test("file makes a sparse file of the size, or makes one longer, and undoes it in trouble", async () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/new`;
  const create = (size: string) => file(path, { create: true, size });
  {
    await using disk = await RingRequests.open(create("1GiB"));
    assertEquals(disk.backend.size, 1 << 30);
    assertEquals(allocatedBytes(path), 0);
  }
  await using longer = await RingRequests.open(create("2GiB"));
  assertEquals(longer.backend.size, 2 ** 31);
  const other = `${scratch.path}/other`;
  const huge = await loadBackend(file(other, { create: true, size: 2 ** 52 }));
  await assertRejects(() => huge.share(), UblkError, other);
  assertThrows(() => Deno.statSync(other), Deno.errors.NotFound);
});

Deno.test("file + a device that is recovered + its files are taken as they are, or not at all", async () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/data`;
  const metadataPath = `${scratch.path}/meta`;
  const spec = file(path, { create: true, size: MIB, metadataPath, metadataSize: 8 });
  const recovered = await loadBackend(spec, { blockSize: 512 });
  const missing = async (name: string) => {
    const error = await assertRejects(() => recovered.share(), UblkError, `${name}: there is no`);
    assertEquals(error.hint, "check that its filesystem is mounted, and the path");
    assertThrows(() => Deno.statSync(name), Deno.errors.NotFound);
  };
  // When the filesystem was not mounted, a new file was once made, and the disk went on over zeroes.
  await missing(path);
  scratch.file("data", 0);
  const error = await assertRejects(() => recovered.share(), UblkError, "0 bytes are less");
  assertEquals(error.hint, "check that its filesystem is mounted, and the path");
  scratch.file("data", 3 * MIB);
  await missing(metadataPath);
  // For a disk that had grown, the error once said "Making it 1 MiB loses data", "remove the file".
  scratch.file("meta", 3 * MIB / 512 * 8);
  const shared = await recovered.share();
  assertEquals((await recovered.open(0, shared)).size, 3 * MIB);
  await recovered.unshare(shared);
  Deno.truncateSync(path, MIB / 2);
  await recovered.unshare(await recovered.share());
  assertEquals(Deno.statSync(path).size, MIB / 2, "nor is it made longer");
});

Deno.test("file takes one server at a time, or many that only read", async () => {
  using scratch = new Scratch();
  const path = scratch.file("a", MIB);
  {
    await using _first = await RingRequests.open(file(path));
    await refused(path, {}, "in use by another", "end it");
    await refused(path, { readOnly: true }, "in use by another");
  }
  await using _reader = await RingRequests.open(file(path, { readOnly: true }));
  await using _other = await RingRequests.open(file(path, { readOnly: true }));
});

Deno.test("file waits a little for the lock of a server that is just going", async () => {
  using scratch = new Scratch();
  const path = scratch.file("a", MIB);
  const first = await RingRequests.open(file(path));
  setTimeout(() => first[Symbol.asyncDispose](), 200);
  await using second = await RingRequests.open(file(path));
  assertEquals(second.backend.size, MIB);
});

Deno.test("file refuses options that contradict each other, where they are given", () => {
  const wrong: [string, FileOptions, string][] = [
    ["", {}, "is not a path"],
    ["a\0b", {}, "is not a path"],
    ["a", { size: 512 }, "create"],
    ["a", { create: true }, "create needs a size"],
    ["a", { create: true, size: 1000 }, "multiple of 512"],
    ["a", { create: true, size: 512, readOnly: true }, "exclude"],
    ["a", { blockSize: 100 }, "512, 1024, 2048, 4096"],
    ["a", { metadataPath: "b" }, "give both"],
    ["a", { metadataSize: 8 }, "give both"],
    ["a", { metadataPath: "b", metadataSize: 256 }, "1 to 255"],
  ];
  for (const [path, options, words] of wrong) {
    const error = assertThrows(() => file(path, options), UblkError, words);
    assertEquals(error.code, "INVALID_ARGUMENT");
  }
  structuredClone(file("a", { create: true, size: "1GiB" }));
});

Deno.test({
  name: "file says who may not write it, and where nobody may",
  ignore: !isRoot,
  fn: async (t) => {
    using scratch = new Scratch("1M");
    const path = scratch.file("a", 4096);
    run("mount", "-o", "remount,ro", scratch.path);
    await refused(path, {}, "read-only filesystem", "serve it read-only");
    await using disk = await RingRequests.open(file(path, { readOnly: true }));
    assertEquals(disk.io(read(0, 4096)).result, 4096);
    using plain = new Scratch();
    const kept = plain.file("a", 4096);
    // The only file that even root cannot write to.
    const ignore = !new Deno.Command("chattr", { args: ["+i", kept] }).outputSync().success;
    await t.step({
      name: "immutable",
      ignore,
      fn: async () => {
        try {
          // The hint was once "run as its owner", which does not help: even root is refused.
          await refused(kept, {}, "it is immutable", "`chattr -i -a` it, or serve it read-only");
          await using _disk = await RingRequests.open(file(kept, { readOnly: true }));
        } finally {
          run("chattr", "-i", "-a", kept);
        }
        await using _disk = await RingRequests.open(file(kept));
      },
    });
  },
});

/** Attaches a loop device to a file; undefined if this machine cannot. */
function attachLoop(path: string, ...options: string[]): string | undefined {
  try {
    return isRoot ? run("losetup", "--find", "--show", ...options, path) : undefined;
  } catch {
    return undefined;
  }
}

Deno.test("file serves a block device, which it does not lengthen, and not what the kernel's loop has", async (t) => {
  using scratch = new Scratch();
  const path = scratch.file("a", MIB);
  const device = attachLoop(path, "--sector-size", "4096");
  await t.step({
    name: "with a loop device",
    ignore: device === undefined,
    fn: async () => {
      try {
        await refused(path, {}, `in use by ${device}`, "losetup -d");
        const small = { direct: true, blockSize: 512 };
        await refused(device!, small, "no blocks of 512", "use blocks of 4096");
        await refused(device!, { create: true, size: MIB }, "has a size", "leave out");
        await compare(device!, { direct: true, blockSize: 4096 }, 5);
        await using disk = await RingRequests.open(file(device!));
        assertEquals(disk.backend.size, MIB);
        assertThrows(() => disk.backend.resize!(2 * MIB), UblkError, "ask for less");
        await disk.backend.resize!(MIB / 2);
        await refused(device!, {}, "in use: mounted", "unmount it");
      } finally {
        run("losetup", "--detach", device!);
      }
    },
  });
});

// If the metadata's file could not be made, the disk's file was left behind, as long as the disk.
Deno.test("file + a second file that cannot be had + nothing that was made is left", async () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/disk`;
  const options = { create: true, size: MIB, metadataSize: 8 } as const;
  const missing = `${scratch.path}/none/metadata`;
  const directory = scratch.path;
  for (const metadataPath of [missing, directory]) {
    await assertRejects(() => OpenedDisk.open(file(path, { ...options, metadataPath })), UblkError);
    assertThrows(() => Deno.statSync(path), Deno.errors.NotFound);
  }
  // A file that existed before stays.
  scratch.file("disk", MIB);
  await assertRejects(
    () => OpenedDisk.open(file(path, { ...options, metadataPath: directory })),
    UblkError,
  );
  assertEquals(Deno.statSync(path).size, MIB);
});

/** `syscall(2)` number of `ftruncate` on x86-64. */
const SYS_ftruncate = 77;

Deno.test("file + a server killed while it made the file + the next one makes it whole", async () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/disk`;
  const url = (path: string) => JSON.stringify(import.meta.resolve(path));
  await runChild(`
    import { openBackingFile } from ${url("./backing_file.ts")};
    import { dieAtSyscall } from ${url("../tests/seccomp.ts")};
    dieAtSyscall(${SYS_ftruncate});
    const wish = { readOnly: false, direct: false, blockSize: 512, createBytes: ${MIB} };
    await openBackingFile(${JSON.stringify(path)}, wish);
  `);
  assertEquals(Deno.statSync(path).size, 0);
  await using stack = await OpenedDisk.open(file(path, { create: true, size: MIB }));
  assertEquals(stack.backend.size, MIB);
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
