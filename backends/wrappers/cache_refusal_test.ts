import { assertEquals, assertRejects } from "@std/assert";
import type { Backend } from "../../disk/backend.ts";
import { BLOCK, cached, filled, journalled, SIZE } from "../../tests/backends/journalled.ts";
import { fill, readBytes } from "../../tests/stack.ts";
import { openAllOfLibc } from "../../uring/libc.ts";

// Opened once for the process, so that the sanitizer reports no leak.
openAllOfLibc();

Deno.test("cache keeps what it could not write, and says so at every flush", async () => {
  const { disk, bytes, fail, taken } = journalled();
  const backend = cached({ size: 2 * BLOCK, mode: "write-back" }, disk);
  await fill(backend, 5, 0, BLOCK);
  fail("write");
  for (const _ of [1, 2]) {
    await assertRejects(async () => await backend.flush!(), Error, "EIO: write 0+4096");
  }
  await fill(backend, 6, BLOCK, BLOCK);
  await assertRejects(() => fill(backend, 7, 2 * BLOCK, BLOCK), Error, "EIO", "there is no room");
  fail("");
  taken();
  await backend.flush!();
  assertEquals(taken(), ["write 0+4096", "write 4096+4096", "flush"]);
  assertEquals([bytes[0], bytes[BLOCK]], [5, 6]);
});

Deno.test("cache forgets what a write-through that failed may have changed", async () => {
  const { disk, bytes, fail } = journalled();
  const backend = cached({ size: "64K" }, disk);
  await fill(backend, 1, 0, BLOCK);
  fail("write");
  await assertRejects(() => fill(backend, 2, 0, BLOCK));
  bytes.fill(3, 0, 512);
  assertEquals((await readBytes(backend, 0, 512))[0], 3);
});

for (const op of ["zero", "trim"] as const) {
  for (const isAsync of [false, true]) {
    const kind = isAsync ? "asynchronous" : "synchronous";
    Deno.test(`cache forgets what a ${op} that failed may have changed, over a ${kind} disk`, async () => {
      const { disk, bytes, fail } = journalled({ async: isAsync });
      const backend = cached({ size: "64K", mode: "write-back" }, disk);
      await fill(backend, 1, 0, 4 * BLOCK);
      await backend.flush!();
      await fill(backend, 2, BLOCK, BLOCK);
      fail(op);
      // A range that ends within a block, and the whole disk, which is larger than the cache.
      for (const length of [2 * BLOCK + 512, SIZE]) {
        await assertRejects(
          async () => {
            if (op === "trim") await backend.trim!(0, length);
            else await backend.writeZeroes!(0, length, { mayUnmap: true });
          },
          Error,
          `EIO: ${op}`,
        );
        // The disk has carried out a part of the request.
        const end = Math.ceil(length / BLOCK) * BLOCK;
        bytes.fill(length === SIZE ? 4 : 3, 0, end);
        const now = await readBytes(backend, 0, 4 * BLOCK);
        const [dirty, ...others] = [1, 0, 2, 3].map((block) => now[block * BLOCK]);
        assertEquals(dirty, 2);
        assertEquals(others, [0, 2, 3].map((block) => bytes[block * BLOCK]));
      }
      fail("");
      await backend.flush!();
      assertEquals(bytes[BLOCK], 2);
    });
  }
}

// After the disk had a whole FUA write, its blocks once entered the cache one by one. Room for the
// first was made by writing back the second, which was dirty with older data.
for (
  const [what, change] of [
    ["a FUA write", (disk: Backend) => disk.writeAt(filled(2 * BLOCK, 3), 0, { fua: true })],
    ["a write that finds no room", (disk: Backend) => fill(disk, 3, 0, 2 * BLOCK)],
    ["zeroes", (disk: Backend) => disk.writeZeroes!(0, 2 * BLOCK, { mayUnmap: true })],
  ] as const
) {
  Deno.test(`cache never writes older blocks over what is below already: ${what}`, async () => {
    const refuses = (op: string, offset: number) =>
      op === "write" && what.includes("no room") && offset >= 16 * BLOCK;
    const { disk, bytes } = journalled({ refuses });
    const backend = cached({ size: 2 * BLOCK, mode: "write-back" }, disk);
    await fill(backend, 1, BLOCK, BLOCK);
    await fill(backend, 2, 16 * BLOCK, BLOCK);
    await change(backend);
    const value = what === "zeroes" ? 0 : 3;
    await readBytes(backend, 8 * BLOCK, 2 * BLOCK);
    if (what !== "a write that finds no room") assertEquals(bytes[BLOCK], value);
    assertEquals(await readBytes(backend, BLOCK, BLOCK), filled(BLOCK, value));
    try {
      await backend.flush!();
    } catch {
      // The error of the refused block.
    }
    assertEquals([bytes[0], bytes[BLOCK]], [value, value]);
  });
}

/** Refuses writes to the first block. */
const firstBlock = (op: string, offset: number) => op === "write" && offset < BLOCK;

for (const isAsync of [false, true]) {
  const kind = isAsync ? "asynchronous" : "synchronous";
  Deno.test(`cache + a block that the disk refuses + all others go on, over a ${kind} disk`, async () => {
    const { disk, bytes, taken } = journalled({ async: isAsync, refuses: firstBlock });
    const backend = cached({ size: 4 * BLOCK, mode: "write-back" }, disk);
    // The first block and its neighbours, which are written together with it.
    await fill(backend, 1, 0, 4 * BLOCK);
    // Each read needs room, and so does each written block.
    for (let block = 100; block < 120; block++) await readBytes(backend, block * BLOCK, BLOCK);
    assertEquals([bytes[BLOCK], bytes[2 * BLOCK], bytes[3 * BLOCK]], [1, 1, 1]);
    for (let block = 10; block < 20; block++) await fill(backend, 2, block * BLOCK + 512, 512);
    taken();
    await assertRejects(async () => await backend.flush!(), Error, "EIO: write 0+4096");
    assertEquals(taken().at(-1), "flush", "what it took is made durable");
    for (let block = 10; block < 20; block++) assertEquals(bytes[block * BLOCK + 512], 2);
    assertEquals(await readBytes(backend, 0, BLOCK), filled(BLOCK, 1), "it is not lost yet");
    // Once the disk accepts the block again, its newest contents count.
    await fill(backend, 7, 512, 512);
    const error = await assertRejects(async () => await backend.close!(), Error);
    assertEquals(
      error.message.split(";")[0],
      "wrapper cache: 4 KiB could not be written back and are lost: bytes 0-4096 " +
        "(Error: EIO: write 0+4096)",
    );
  });
}

Deno.test("cache full of blocks that the disk refuses + requests pass it", async () => {
  const refuses = (op: string, offset: number, end: number) =>
    op === "write" && offset < 4 * BLOCK && end > 0;
  const { disk, bytes, taken } = journalled({ refuses });
  const backend = cached({ size: 4 * BLOCK, mode: "write-back" }, disk);
  await fill(backend, 1, 0, 4 * BLOCK);
  bytes.fill(9, 8 * BLOCK, 10 * BLOCK);
  for (const _ of [1, 2]) {
    assertEquals(await readBytes(backend, 8 * BLOCK, 2 * BLOCK), filled(2 * BLOCK, 9));
    assertEquals(await readBytes(backend, 8 * BLOCK + 512, 512), filled(512, 9));
  }
  await fill(backend, 5, 20 * BLOCK + 512, BLOCK);
  assertEquals(bytes[20 * BLOCK + 512], 5);
  // The refused blocks were tried once, and not with each request.
  taken();
  await readBytes(backend, 8 * BLOCK, BLOCK);
  assertEquals(taken(), ["read 32768+4096"]);
  assertEquals(await readBytes(backend, 0, 4 * BLOCK), filled(4 * BLOCK, 1));
});

Deno.test("cache full of blocks that the disk refuses + a request tries no more than one", async () => {
  let refused = 0;
  const refuses = (op: string) => op === "write" && ++refused > 0;
  const { disk } = journalled({ refuses });
  const backend = cached({ size: 32 * BLOCK, mode: "write-back" }, disk);
  for (let block = 0; block < 64; block += 2) await fill(backend, 1, block * BLOCK, BLOCK);
  await readBytes(backend, 100 * BLOCK, 16 * BLOCK);
  assertEquals(refused, 1);
  await assertRejects(() => fill(backend, 2, 80 * BLOCK, 16 * BLOCK));
  // The third refusal is that of the write's own bytes.
  assertEquals(refused, 3);
});

Deno.test("cache + a part of a block that cannot be read + the others can be read and written", async () => {
  // A block of 64 KiB with one bad sector.
  const { disk, bytes } = journalled({
    refuses: (op, offset, end) => op === "read" && offset < 1024 && end > 512,
  });
  bytes.fill(4, 0, 16 * BLOCK);
  for (const mode of ["write-back", "write-through"] as const) {
    const backend = cached({ size: "256K", block: "64K", mode }, disk);
    assertEquals(await readBytes(backend, 1024, BLOCK), filled(BLOCK, 4));
    await assertRejects(() => readBytes(backend, 512, 512), Error, "EIO");
    await fill(backend, 6, 8192, 512);
    assertEquals(await readBytes(backend, 8192, 1024), filled(1024, 6).fill(4, 512));
    bytes.fill(4, 0, 16 * BLOCK);
  }
});
