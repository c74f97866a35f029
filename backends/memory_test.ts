import { assert, assertEquals, assertThrows } from "@std/assert";
import { NO_FUA } from "../disk/calls.ts";
import { checkBackendConformance } from "../testing.ts";
import { isMapped, residentBytes } from "../tests/maps.ts";
import { openMemory } from "../tests/memory_disk.ts";
import { UblkError } from "../uapi/error.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { bufferAt } from "../uring/mapping.ts";
import { ringFiles } from "../uring/ring_files.ts";
import { memory, open, share, sharing, unshare } from "./memory.ts";

// Opened once for the process, and before the tests, whose sanitizer would report a leak.
openAllOfLibc();

const GIB = 2 ** 30;

Deno.test("memory is a conforming backend, whatever its size and block size", async () => {
  for (const [size, blockSize] of [[512, 512], [4096, 4096], [5 << 20, 1024]]) {
    using disk = openMemory(size, { blockSize });
    await checkBackendConformance(disk);
  }
});

Deno.test("memory reads, writes and zeroes across the bounds of its windows of 1 GiB", async () => {
  using disk = openMemory("3GiB", { overcommit: true });
  const data = new Uint8Array(1 << 20).map((_, index) => index % 251);
  for (const bound of [GIB, 2 * GIB]) {
    const offset = bound - 512;
    await disk.writeAt(data, offset, NO_FUA);
    const back = new Uint8Array(data.length);
    await disk.readAt(back, offset);
    assertEquals(back.findIndex((byte, at) => byte !== data[at]), -1);
    await disk.writeZeroes!(bound - 512, 1024, { mayUnmap: false });
    await disk.readAt(back, offset);
    assertEquals(back.findIndex((byte) => byte !== 0), 1024);
    await disk.trim!(offset, data.length);
    await disk.readAt(back, offset);
    assertEquals(back.findIndex((byte) => byte !== 0), -1);
  }
  const last = new Uint8Array(512).fill(9);
  await disk.writeAt(last, 3 * GIB - 512, NO_FUA);
  const first = new Uint8Array(512);
  await disk.readAt(first, 0);
  assertEquals(first[0], 0);
});

Deno.test("memory's address is where its bytes are, and absent where it is not to be direct", async () => {
  using disk = openMemory("1MiB");
  await disk.writeAt(new Uint8Array(512).fill(3), 4096, NO_FUA);
  assertEquals(new Uint8Array(bufferAt(disk.address! + 4096, 512))[511], 3);
  using indirect = openMemory("1MiB", { direct: false });
  assertEquals(indirect.address, undefined);
});

Deno.test("memory takes memory when written and gives it back when trimmed", async () => {
  const chunk = new Uint8Array(1 << 20).fill(1);
  using disk = openMemory("1GiB");
  // Measured for the disk's range only: the process allocates and frees other memory too.
  const resident = () => residentBytes(disk.address!, GIB);
  assertEquals(resident(), 0, "a disk never written takes nothing");
  for (let at = 0; at < 64; at++) await disk.writeAt(chunk, at << 20, NO_FUA);
  assertEquals(resident(), 64 << 20);
  await disk.trim!(1 << 20, 62 << 20);
  assertEquals(resident(), 2 << 20, "trimming gives it back");
});

Deno.test("memory gives whole pages back and zeroes the ends of a range byte by byte", async () => {
  using disk = openMemory(64 << 10);
  const ones = new Uint8Array(64 << 10).fill(1);
  const ranges = [[512, 512], [512, 8192], [0, 4096], [3584, 1024], [4096, 4608], [7680, 33280]];
  for (const [offset, length] of ranges) {
    for (const how of ["trim", "unmap", "keep"]) {
      await disk.writeAt(ones, 0, NO_FUA);
      if (how === "trim") await disk.trim!(offset, length);
      else await disk.writeZeroes!(offset, length, { mayUnmap: how === "unmap" });
      const back = new Uint8Array(64 << 10);
      await disk.readAt(back, 0);
      const wrong = back.findIndex((byte, at) =>
        byte !== (at >= offset && at < offset + length ? 0 : 1)
      );
      assertEquals(wrong, -1, `${how} of ${length} at ${offset}`);
    }
  }
});

Deno.test("memory refuses to be larger than the machine's memory, unless told otherwise", () => {
  const size = Deno.systemMemoryInfo().total * 2;
  const rounded = Math.ceil(size / 4096) * 4096;
  const error = assertThrows(() => openMemory(rounded), UblkError, "--overcommit");
  assertEquals(error.code, "INVALID_ARGUMENT");
  using disk = openMemory(rounded, { overcommit: true });
  assertEquals(disk.size, rounded);
});

Deno.test("memory's unshare releases the mapping, once", () => {
  const shared = share(memory("1MiB").options);
  const { address } = shared;
  assert(isMapped(address));
  unshare(shared);
  assert(!isMapped(address));
  unshare(shared);
  assertEquals(sharing, "per-queue");
});

Deno.test("memory refuses a bad geometry where it is asked for, not in the Worker", () => {
  assertThrows(() => memory(513), RangeError);
  assertThrows(() => memory("1GiB", { blockSize: 100 }), RangeError);
  structuredClone(memory("1GiB"));
});

Deno.test("memory grows and shrinks within its greatest size, and forgets what is cut off", async () => {
  using disk = openMemory("1MiB", { maxSize: "4MiB" });
  const address = disk.address;
  const resize = (size: number) => disk.resize!(size);
  const ones = new Uint8Array(8192).fill(1);
  await disk.writeAt(ones, (1 << 20) - 8192, NO_FUA);
  await resize(4 << 20);
  await disk.writeAt(ones, (4 << 20) - 8192, NO_FUA);
  await resize((1 << 20) - 512);
  await resize(4 << 20);
  const back = new Uint8Array(8192);
  await disk.readAt(back, (1 << 20) - 8192);
  assertEquals(back.findIndex((byte) => byte === 0), 8192 - 512, "what was not cut off has stayed");
  for (const offset of [1 << 20, (4 << 20) - 8192]) {
    await disk.readAt(back, offset);
    assertEquals(back, new Uint8Array(8192));
  }
  assertEquals(disk.address, address);
});

Deno.test("memory's size follows resize, which refuses what cannot be in one line", () => {
  const spec = memory("1MiB", { maxSize: "2MiB", blockSize: 4096 });
  const shared = share(spec.options);
  try {
    const disk = open(spec.options, {
      queue: 0,
      shared,
      inner: [],
      ring: ringFiles(),
      recovering: false,
    });
    disk.resize!(2 << 20);
    assertEquals(disk.size, 2 << 20);
    const refused: [number, string][] = [
      [4 << 20, "4 MiB is more than the 2 MiB"],
      [512, "multiple of 4096"],
      [0, "multiple of 4096"],
      [NaN, "size NaN"],
    ];
    for (const [size, words] of refused) {
      assertThrows(() => disk.resize!(size), UblkError, words);
      assertEquals(disk.size, 2 << 20);
    }
  } finally {
    unshare(shared);
  }
  assertThrows(() => memory("2MiB", { maxSize: "1MiB" }), RangeError, "give more");
});
