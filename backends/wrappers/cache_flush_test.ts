import { assertEquals, assertRejects } from "@std/assert";
import type { Backend } from "../../disk/backend.ts";
import {
  BLOCK,
  cached,
  filled,
  forgetful,
  overPageCache,
} from "../../tests/backends/journalled.ts";
import { fill, readBytes } from "../../tests/stack.ts";
import { openAllOfLibc } from "../../uring/libc.ts";

// Opened once for the process, so that the sanitizer reports no leak.
openAllOfLibc();

Deno.test("cache + a failed flush + what the disk may have lost is written once more", async () => {
  const { disk, kept, taken, failOnce } = forgetful();
  const backend = cached({ size: "64K", mode: "write-back" }, disk);
  await fill(backend, 1, 0, 2 * BLOCK);
  await backend.flush!();
  await fill(backend, 2, BLOCK, BLOCK);
  await readBytes(backend, 8 * BLOCK, BLOCK);
  failOnce();
  await assertRejects(async () => await backend.flush!(), Error, "EIO: flush");
  taken();
  await backend.flush!();
  assertEquals(taken(), ["write 4096+4096", "flush"], "and no more than that");
  assertEquals([kept[0], kept[BLOCK]], [1, 2]);
  // A FUA write that fails in its flush has the same effect.
  await fill(backend, 3, 2 * BLOCK, BLOCK);
  failOnce();
  await assertRejects(async () =>
    await backend.writeAt(filled(BLOCK, 4), 3 * BLOCK, { fua: true })
  );
  await backend.flush!();
  assertEquals(kept[2 * BLOCK], 3);
});

Deno.test("cache + a failed FUA write + the next flush makes durable what is read then", async () => {
  const { file, kept, failOnce } = overPageCache();
  const backend = cached({ size: "64K", mode: "write-back" }, file);
  await backend.flush!();
  await fill(backend, 1, BLOCK, BLOCK);
  await fill(backend, 1, 2 * BLOCK, BLOCK);
  await backend.flush!();
  // A dirty block, parts of clean or uncached blocks, and whole blocks.
  await fill(backend, 2, BLOCK, BLOCK);
  for (const [from, to] of [[1, 2], [2.5, 3.5], [9, 12]]) {
    const data = filled((to - from) * BLOCK, 3);
    failOnce();
    const write = async () => await backend.writeAt(data, from * BLOCK, { fua: true });
    await assertRejects(write, Error, "EIO: flush");
  }
  const seen = await readBytes(backend, 0, 16 * BLOCK);
  await backend.flush!();
  assertEquals(kept.subarray(0, 16 * BLOCK), seen);
});

for (
  const [what, change] of [
    ["a block that had to go", (disk: Backend) => readBytes(disk, 8 * BLOCK, 2 * BLOCK)],
    ["zeroes", (disk: Backend) => disk.writeZeroes!(9 * BLOCK, BLOCK, { mayUnmap: true })],
    ["a write that the cache could not take", writePast],
  ] as const
) {
  Deno.test(`cache + a failed FUA write + no later flush is true, after ${what}`, async () => {
    const { file, failOnce } = overPageCache();
    const backend = cached({ size: 2 * BLOCK, mode: "write-back" }, file);
    // Until the first flush a cache answers for writes of an earlier server, too.
    await backend.flush!();
    await fill(backend, 1, 0, BLOCK);
    await change(backend, file);
    failOnce();
    const write = async () => await backend.writeAt(filled(BLOCK, 2), 4 * BLOCK, { fua: true });
    await assertRejects(write, Error, "EIO: flush");
    await assertRejects(async () => await backend.flush!(), Error, "an earlier flush has failed");
  });

  Deno.test(`cache + a failed flush + no later one is true, after ${what}`, async () => {
    const { disk, failOnce } = forgetful();
    const backend = cached({ size: 2 * BLOCK, mode: "write-back" }, disk);
    await backend.flush!();
    await fill(backend, 1, 0, BLOCK);
    await change(backend, disk);
    failOnce();
    await assertRejects(async () => await backend.flush!(), Error, "EIO: flush");
    for (const _ of [1, 2]) {
      await assertRejects(async () => await backend.flush!(), Error, "an earlier flush has failed");
    }
    // A FUA write still succeeds: it promises only its own data.
    await backend.writeAt(filled(BLOCK, 2), 0, { fua: true });
    await assertRejects(async () => await backend.close!(), Error, "an earlier flush has failed");
  });
}

/** Writes a part of a block that cannot be read: it passes the cache. */
async function writePast(disk: Backend, inner: Backend): Promise<void> {
  const { readAt } = inner;
  inner.readAt = () => {
    throw new Error("EIO: read");
  };
  await disk.writeAt(filled(512, 3), 9 * BLOCK, { fua: false });
  inner.readAt = readAt;
}

Deno.test("cache + a failed flush of an earlier server's writes + no later one is true", async () => {
  const { disk, failOnce } = forgetful();
  const backend = cached({ size: "64K", mode: "write-back" }, disk);
  failOnce();
  await assertRejects(async () => await backend.flush!(), Error, "EIO: flush");
  await assertRejects(async () => await backend.flush!(), Error, "an earlier flush has failed");
});

Deno.test("cache write-through + a failed flush + the next one is the disk's", async () => {
  const { disk, failOnce } = forgetful();
  const through = cached({ size: "64K" }, disk);
  failOnce();
  await assertRejects(async () => await through.flush!(), Error, "EIO: flush");
  await through.flush!();
});
