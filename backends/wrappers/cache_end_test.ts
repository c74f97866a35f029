import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Backend } from "../../disk/backend.ts";
import { BLOCK, cached, journalled, SIZE } from "../../tests/backends/journalled.ts";
import { fill, readBytes } from "../../tests/stack.ts";
import { openAllOfLibc } from "../../uring/libc.ts";

// Opened once for the process, so that the sanitizer reports no leak.
openAllOfLibc();

Deno.test("cache + orderly end + of a block that is refused the parts are written", async () => {
  const { disk, bytes } = journalled({
    refuses: (op, offset, end) =>
      op === "write" &&
      (offset < 1024 && end > 512 || offset < 40 * BLOCK + 512 && end > 40 * BLOCK),
  });
  const backend = cached({ size: "512K", block: "64K", mode: "write-back" }, disk);
  await fill(backend, 3, 0, 16 * BLOCK);
  await fill(backend, 3, 40 * BLOCK, BLOCK);
  const error = await assertRejects(async () => await backend.close!(), Error);
  assertEquals(/bytes [\d, -]+/.exec(error.message)?.[0], "bytes 512-1024, 163840-164352 ");
  assertEquals(bytes.subarray(0, 16 * BLOCK).findIndex((byte) => byte !== 3), 512);
  assertEquals(bytes.subarray(1024, 16 * BLOCK).every((byte) => byte === 3), true);
  assertEquals(bytes.subarray(40 * BLOCK + 512, 41 * BLOCK).every((byte) => byte === 3), true);
});

Deno.test("cache + a dead disk + its end is not held up for ever, and says where", async () => {
  // Each write fails after a second of a simulated clock.
  const { now } = performance;
  let ms = 0;
  let writes = 0;
  performance.now = () => ms;
  try {
    const { disk } = journalled({
      refuses: (op) => {
        if (op !== "write") return false;
        writes++;
        ms += 1000;
        return true;
      },
    });
    const backend = cached({ size: "1M", mode: "write-back" }, disk);
    for (let block = 0; block < 100; block += 2) await fill(backend, 3, block * BLOCK, BLOCK);
    const error = await assertRejects(async () => await backend.close!(), Error);
    assert(writes < 8, `${writes}`);
    assertEquals(error.message.includes("200 KiB could not be written back"), true, error.message);
    assertEquals(error.message.includes("and 34 ranges more"), true, error.message);
  } finally {
    performance.now = now;
  }
});

// The end once gave up three seconds after the first refusal, and lost blocks that the disk accepts.
for (const sector of [0, 1, 513, 2047]) {
  Deno.test(`cache + a slow disk with bad sector ${sector} + its end writes all others`, async () => {
    // Each write takes two seconds of a simulated clock, whether it fails or not.
    const { now } = performance;
    let ms = 0;
    performance.now = () => ms;
    try {
      const { disk, bytes } = journalled({
        refuses: (op, offset, end) => {
          if (op !== "write") return false;
          ms += 2000;
          return offset < (sector + 1) * 512 && end > sector * 512;
        },
      });
      const backend = cached({ size: "1M", mode: "write-back" }, disk);
      await fill(backend, 3, 0, SIZE);
      const before = ms;
      await assertRejects(async () => await backend.flush!(), Error, "EIO");
      assert(ms - before <= 12_000, "a flush has a deadline: what is left is for the next one");
      const error = await assertRejects(async () => await backend.close!(), Error);
      const lost = `512 B could not be written back and are lost: bytes ${sector * 512}-`;
      assertEquals(error.message.includes(lost), true, error.message);
      const others = bytes.filter((_, at) => Math.floor(at / 512) !== sector);
      assertEquals(others.findIndex((byte) => byte !== 3), -1);
    } finally {
      performance.now = now;
    }
  });
}

Deno.test("cache + a slow disk with some bad blocks in a row + its end tries more than one", async () => {
  // A refusal takes five seconds, longer than a disk that refuses everything is tried.
  const { now } = performance;
  let ms = 0;
  performance.now = () => ms;
  try {
    const { disk, bytes } = journalled({
      refuses: (op, offset, end) => {
        const bad = op === "write" && offset < 4 * BLOCK && end > 2 * BLOCK;
        if (bad) ms += 5000;
        return bad;
      },
    });
    const backend = cached({ size: "1M", mode: "write-back" }, disk);
    for (let block = 0; block < 20; block += 2) await fill(backend, 3, block * BLOCK, BLOCK);
    await fill(backend, 3, 3 * BLOCK, BLOCK);
    await assertRejects(async () => await backend.close!(), Error, "8 KiB could not be written");
    const written = Array.from({ length: 10 }, (_, index) => bytes[2 * index * BLOCK]);
    assertEquals(written, [3, 0, 3, 3, 3, 3, 3, 3, 3, 3]);
  } finally {
    performance.now = now;
  }
});

Deno.test("cache that ends writes what it has, though the disk owes an answer", async () => {
  const { disk, bytes } = journalled();
  const held: (() => void)[] = [];
  const slow: Backend = {
    ...disk,
    synchronous: false,
    readAt: () => new Promise((resolve) => held.push(resolve)),
  };
  const backend = cached({ size: "64K", mode: "write-back" }, slow);
  await fill(backend, 1, 0, BLOCK);
  const late = readBytes(backend, 8 * BLOCK, BLOCK);
  const behind = fill(backend, 2, 16 * BLOCK, BLOCK);
  const failed = Promise.all(
    [late, behind].map((one) => assertRejects(() => one, Error, "ENODEV")),
  );
  await backend.close!();
  assertEquals(bytes[0], 1);
  held[0]();
  await failed;
  assertEquals(bytes[16 * BLOCK], 0);
});
