import { assert, assertEquals } from "@std/assert";
import type { Backend } from "../../disk/backend.ts";
import { BLOCK, cached, journalled, SIZE } from "../../tests/backends/journalled.ts";
import { fill, readBytes } from "../../tests/stack.ts";
import { mockBackend } from "../../testing.ts";
import { openAllOfLibc } from "../../uring/libc.ts";

// Opened once for the process, so that the sanitizer reports no leak.
openAllOfLibc();

Deno.test("cache answers what it has, and asks for what it has not, side by side", async () => {
  const { disk, bytes, taken } = journalled();
  bytes.forEach((_, index) => bytes[index] = index >> 9);
  const backend = cached({ size: "64K" }, disk);
  assertEquals(await readBytes(backend, 512, 512), bytes.slice(512, 1024));
  assertEquals(taken(), ["read 0+4096"]);
  await readBytes(backend, 0, BLOCK);
  assertEquals(taken(), []);
  assertEquals(await readBytes(backend, 0, 4 * BLOCK), bytes.slice(0, 4 * BLOCK));
  assertEquals(taken(), ["read 4096+12288"]);
});

Deno.test("cache write-through answers once the disk has it, and serves it from then on", async () => {
  const { disk, taken } = journalled();
  const backend = cached({ size: "64K" }, disk);
  await fill(backend, 7, 0, BLOCK);
  assertEquals(taken(), ["write 0+4096"]);
  await fill(backend, 8, 512, 512);
  assertEquals(taken(), ["write 512+512"]);
  const bytes = await readBytes(backend, 0, 1024);
  assertEquals([bytes[0], bytes[512], taken()], [7, 8, []]);
  await backend.flush!();
  assertEquals(taken(), ["flush"]);
});

Deno.test("cache write-back keeps writes until a flush, which writes them first and in order", async () => {
  const { disk, bytes, taken } = journalled();
  const backend = cached({ size: "64K", mode: "write-back" }, disk);
  for (const block of [9, 2, 3, 1]) await fill(backend, block, block * BLOCK, BLOCK);
  assertEquals(taken(), []);
  await backend.flush!();
  assertEquals(taken(), ["write 4096+12288", "write 36864+4096", "flush"]);
  assertEquals([1, 2, 3, 9].map((block) => bytes[block * BLOCK]), [1, 2, 3, 9]);
  await backend.flush!();
  assertEquals(taken(), ["flush"], "what is clean is not written again");
});

for (const fua of [true, false]) {
  Deno.test(`cache write-back has FUA at once, where the disk ${fua ? "has" : "lacks"} it`, async () => {
    const { disk, taken } = journalled({ fua });
    const backend = cached({ size: "64K", mode: "write-back" }, disk);
    await fill(backend, 1, 8192, BLOCK);
    await backend.writeAt(new Uint8Array(512).fill(2), 0, { fua: true });
    assertEquals(taken(), fua ? ["write 0+512 fua"] : ["write 0+512", "flush"]);
    assertEquals((await readBytes(backend, 0, 512))[0], 2);
    assertEquals(backend.fua, true);
  });
}

Deno.test("cache never has more than its blocks, and writes dirty ones back to make room", async () => {
  const { disk, bytes, taken } = journalled();
  const backend = cached({ size: 8 * BLOCK, mode: "write-back" }, disk);
  for (let block = 0; block < 64; block++) await fill(backend, block + 1, block * BLOCK, BLOCK);
  // All blocks were evicted, except those that fit.
  const onDisk = Array.from({ length: 64 }, (_, block) => bytes[block * BLOCK] === block + 1);
  assertEquals(onDisk.filter((there) => !there).length, 8);
  taken();
  await readBytes(backend, 56 * BLOCK, 8 * BLOCK);
  assertEquals(taken(), [], "what was used last is there");
  await readBytes(backend, 0, 64 * BLOCK);
  for (let block = 0; block < 64; block++) {
    assertEquals((await readBytes(backend, block * BLOCK, 512))[0], block + 1);
  }
});

Deno.test("cache takes its memory once: reading a disk far larger allocates no more", async () => {
  const size = 256 << 20;
  const disk: Backend = {
    size,
    synchronous: true,
    readAt: (buffer, offset) => void buffer.fill(offset >> 20),
    writeAt() {},
  };
  const external = () => Deno.memoryUsage().external;
  const before = external();
  const backend = cached({ size: "8MiB", mode: "write-back" }, disk);
  const buffer = new Uint8Array(128 << 10);
  for (let offset = 0; offset < size; offset += buffer.length) {
    await backend.readAt(buffer, offset);
    await backend.writeAt(buffer, size - buffer.length - offset, { fua: false });
  }
  const grown = external() - before;
  assert(grown < 12 << 20, `${grown} bytes`);
});

Deno.test("cache has no more dirty than a flush can write in time, however large it is", async () => {
  let written = 0;
  const disk: Backend = {
    size: 512 << 20,
    synchronous: true,
    readAt() {},
    writeAt: (buffer) => void (written += buffer.length),
  };
  const backend = cached({ size: "256MiB", mode: "write-back", block: "64K" }, disk);
  const step = 1 << 20;
  let most = 0;
  // Twice, because writes to cached blocks take another path.
  for (let at = 0; at < 256 * step; at += step) {
    await fill(backend, 1, at % (128 * step), step);
    most = Math.max(most, at + step - written);
  }
  assert(most > 32 << 20 && most <= 65 << 20, `${most} bytes were dirty`);
});

Deno.test("cache trims and zeroes what it has, too", async () => {
  const { disk, bytes, taken } = journalled();
  const backend = cached({ size: "64K", mode: "write-back" }, disk);
  await fill(backend, 1, 0, 4 * BLOCK);
  await backend.writeZeroes!(512, 2 * BLOCK, { mayUnmap: true });
  const bytesNow = await readBytes(backend, 0, 3 * BLOCK);
  assertEquals([bytesNow[511], bytesNow[512], bytesNow[2 * BLOCK], bytesNow[2 * BLOCK + 512]], [
    1,
    0,
    0,
    1,
  ]);
  await backend.trim!(3 * BLOCK, BLOCK);
  taken();
  await backend.flush!();
  assertEquals(taken(), ["write 0+4096", "write 8192+4096", "flush"], "what was trimmed is gone");
  assertEquals([bytes[0], bytes[512], bytes[3 * BLOCK]], [1, 0, 0xee]);
});

Deno.test("cache writes back at an orderly end, and cannot be recovered where it writes back", async () => {
  const { disk, bytes, taken } = journalled();
  const backend = cached({ size: "64K", mode: "write-back" }, disk);
  await fill(backend, 1, 0, BLOCK);
  await backend.close!();
  assertEquals([taken(), bytes[0]], [["write 0+4096", "flush"], 1]);
  assertEquals([backend.persistent, cached({}, disk).persistent], [false, true]);
});

Deno.test("cache of a read-only disk writes nothing", async () => {
  const disk = mockBackend({ size: SIZE, readOnly: true });
  const backend = cached({ mode: "write-back" }, disk);
  await readBytes(backend, 0, BLOCK);
  await backend.close?.();
  assertEquals([backend.readOnly, disk.calls.count("flush")], [true, 0]);
});
