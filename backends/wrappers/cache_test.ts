import { assert, assertEquals, assertRejects } from "@std/assert";
import { mockBackend } from "../../testing.ts";
import { fill, readBytes } from "../../tests/stack.ts";
import { Dice } from "../../uapi/dice.ts";
import { libc } from "../../uring/libc.ts";
import type { Backend } from "../../disk/backend.ts";
import { cache, type CacheOptions, open } from "./cache.ts";
import { eachSeed } from "../../tests/seeds.ts";

// Opened once for the process: no test leaks it.
libc();

const SIZE = 1 << 20;
const BLOCK = 4096;

/** A disk in memory that writes down what reaches it. It refuses what `refuses` says. */
function journalled(
  options: {
    async?: boolean;
    fua?: boolean;
    refuses?: (op: string, offset: number, end: number) => boolean;
  } = {},
) {
  const bytes = new Uint8Array(SIZE);
  const journal: string[] = [];
  let failing = "";
  const done = (what: string, work: () => void) => {
    const now = () => {
      if (failing !== "" && what.startsWith(failing)) throw new Error(`EIO: ${what}`);
      const [op, offset, length] = what.split(/[ +]/);
      if (options.refuses?.(op, Number(offset), Number(offset) + Number(length))) {
        throw new Error(`EIO: ${what}`);
      }
      work();
      journal.push(what);
    };
    if (!options.async) return now();
    return Promise.resolve().then(() => {}).then(now);
  };
  const disk: Backend = {
    size: SIZE,
    synchronous: !options.async,
    fua: options.fua ?? true,
    persistent: true,
    readAt: (buffer, offset) =>
      done(`read ${offset}+${buffer.length}`, () => {
        buffer.set(bytes.subarray(offset, offset + buffer.length));
      }),
    writeAt: (buffer, offset, { fua }) =>
      done(`write ${offset}+${buffer.length}${fua ? " fua" : ""}`, () => bytes.set(buffer, offset)),
    flush: () => done("flush", () => {}),
    trim: (offset, length) =>
      done(`trim ${offset}+${length}`, () => void bytes.fill(0xee, offset, offset + length)),
    writeZeroes: (offset, length) =>
      done(`zero ${offset}+${length}`, () => void bytes.fill(0, offset, offset + length)),
  };
  return {
    disk,
    bytes,
    /** What has reached it since the last time. */
    taken: () => journal.splice(0),
    fail: (what: string) => failing = what,
  };
}

function cached(options: CacheOptions, disk: Backend): Backend {
  const spec = cache({ module: "" }, options);
  return open(spec.options, { inner: [disk] });
}

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
  // All but what fits has had to go.
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
  // Twice over: what is cached already is written another way.
  for (let at = 0; at < 256 * step; at += step) {
    await fill(backend, 1, at % (128 * step), step);
    most = Math.max(most, at + step - written);
  }
  assert(most > 32 << 20 && most <= 65 << 20, `${most} bytes were dirty`);
});

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
      // Ends within a block; and the whole disk, which is longer than the cache.
      for (const length of [2 * BLOCK + 512, SIZE]) {
        await assertRejects(
          async () => {
            if (op === "trim") await backend.trim!(0, length);
            else await backend.writeZeroes!(0, length, { mayUnmap: true });
          },
          Error,
          `EIO: ${op}`,
        );
        // It has done a part of it.
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

for (const mode of ["write-back", "write-through"] as const) {
  for (const isAsync of [false, true]) {
    const kind = isAsync ? "asynchronous" : "synchronous";
    Deno.test(`cache ${mode} over a ${kind} disk is that disk`, async (t) => {
      await eachSeed(t, 3, async (seed) => {
        const { disk } = journalled({ async: isAsync });
        const backend = cached({ size: 6 * BLOCK, mode }, disk);
        const model = new Uint8Array(SIZE);
        const dice = new Dice(seed);
        const span = 32 * BLOCK;
        for (let round = 0; round < 150; round++) {
          // Requests of one round do not touch: each has a part of its own.
          const parts = Array.from({ length: 4 }, (_, index) => index * span / 4);
          await Promise.all(parts.map(async (start) => {
            const sectors = 1 + dice.draw(40);
            const at = start + dice.draw(span / 4 / 512 - sectors + 1) * 512;
            const bytes = sectors * 512;
            const kind = dice.draw(7);
            if (kind === 0) await backend.flush!();
            if (kind === 1) {
              await backend.writeZeroes!(at, bytes, { mayUnmap: true });
              model.fill(0, at, at + bytes);
            } else if (kind < 4) {
              const data = new Uint8Array(bytes).map(() => dice.draw(256));
              await backend.writeAt(data, at, { fua: dice.draw(4) === 0 });
              model.set(data, at);
            } else {
              assertEquals(await readBytes(backend, at, bytes), model.slice(at, at + bytes));
            }
          }));
        }
        await backend.flush!();
        const inside = await readBytes(disk, 0, span);
        assertEquals(inside, model.slice(0, span));
      });
    });
  }
}

Deno.test("cache of a read-only disk writes nothing", async () => {
  const disk = mockBackend({ size: SIZE, readOnly: true });
  const backend = cached({ mode: "write-back" }, disk);
  await readBytes(backend, 0, BLOCK);
  await backend.close?.();
  assertEquals([backend.readOnly, disk.calls.count("flush")], [true, 0]);
});

// The blocks of a FUA write were taken into the cache one by one once the disk had them all; room
// for the first was made by writing back the second, dirty with older data.
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
      // The block that it refuses.
    }
    assertEquals([bytes[0], bytes[BLOCK]], [value, value]);
  });
}

function filled(bytes: number, value: number) {
  return new Uint8Array(bytes).fill(value);
}

/** Refuses writes to the first block. */
const firstBlock = (op: string, offset: number) => op === "write" && offset < BLOCK;

for (const isAsync of [false, true]) {
  const kind = isAsync ? "asynchronous" : "synchronous";
  Deno.test(`cache + a block that the disk refuses + all others go on, over a ${kind} disk`, async () => {
    const { disk, bytes, taken } = journalled({ async: isAsync, refuses: firstBlock });
    const backend = cached({ size: 4 * BLOCK, mode: "write-back" }, disk);
    // The first block and its neighbours, which are written in one with it.
    await fill(backend, 1, 0, 4 * BLOCK);
    // Each read needs room; and each block that is written, when all have been.
    for (let block = 100; block < 120; block++) await readBytes(backend, block * BLOCK, BLOCK);
    assertEquals([bytes[BLOCK], bytes[2 * BLOCK], bytes[3 * BLOCK]], [1, 1, 1]);
    for (let block = 10; block < 20; block++) await fill(backend, 2, block * BLOCK + 512, 512);
    taken();
    await assertRejects(async () => await backend.flush!(), Error, "EIO: write 0+4096");
    assertEquals(taken().at(-1), "flush", "what it took is made durable");
    for (let block = 10; block < 20; block++) assertEquals(bytes[block * BLOCK + 512], 2);
    assertEquals(await readBytes(backend, 0, BLOCK), filled(BLOCK, 1), "it is not lost yet");
    // The newest of its kind is what counts once the disk takes it again.
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
  // Each of them was tried once, and not with each request.
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
  // That of its own bytes, too.
  assertEquals(refused, 3);
});

Deno.test("cache + a part of a block that cannot be read + the others can be read and written", async () => {
  // A block of 64 KiB, of which one sector is bad.
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
  // Each write fails after a second, by a clock of its own.
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

// The end gave up three seconds after the first refusal, and threw away what the disk would take.
for (const sector of [0, 1, 513, 2047]) {
  Deno.test(`cache + a slow disk with bad sector ${sector} + its end writes all others`, async () => {
    // Each write takes two seconds, by a clock of its own, whether it fails or not.
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
  // A refusal takes five seconds: longer than a disk that refuses everything is tried.
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

/** A disk that loses what it had taken when a flush fails, and tells of that once, as Linux does. */
function forgetful() {
  const kept = new Uint8Array(SIZE);
  const { disk, bytes, fail, taken } = journalled({ fua: false });
  let failing = false;
  const flush = () => {
    if (!failing) return void (disk.flush!(), kept.set(bytes));
    failing = false;
    bytes.set(kept);
    throw new Error("EIO: flush");
  };
  return { disk: { ...disk, flush }, kept, fail, taken, failOnce: () => failing = true };
}

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
  // A FUA write that fails in its flush is as good as one.
  await fill(backend, 3, 2 * BLOCK, BLOCK);
  failOnce();
  await assertRejects(async () =>
    await backend.writeAt(filled(BLOCK, 4), 3 * BLOCK, { fua: true })
  );
  await backend.flush!();
  assertEquals(kept[2 * BLOCK], 3);
});

/**
 * A disk over the page cache of Linux. FUA is a write and then a flush. After a failed flush it still
 * shows what it had taken, calls it clean, and loses it with its power.
 */
function overPageCache() {
  const { disk, bytes } = journalled();
  const kept = bytes.slice();
  let dirty: { offset: number; content: Uint8Array }[] = [];
  let failing = false;
  const flush = () => {
    const taken = dirty;
    dirty = [];
    if (failing) {
      failing = false;
      throw new Error("EIO: flush");
    }
    for (const { offset, content } of taken) kept.set(content, offset);
  };
  const put = (content: Uint8Array, offset: number) => {
    bytes.set(content, offset);
    dirty.push({ offset, content: content.slice() });
  };
  const file: Backend = {
    ...disk,
    flush,
    writeAt: (buffer, offset, { fua }) => {
      put(buffer, offset);
      if (fua) flush();
    },
    writeZeroes: (offset, length) => put(new Uint8Array(length), offset),
  };
  return { file, kept, failOnce: () => failing = true };
}

Deno.test("cache + a failed FUA write + the next flush makes durable what is read then", async () => {
  const { file, kept, failOnce } = overPageCache();
  const backend = cached({ size: "64K", mode: "write-back" }, file);
  await backend.flush!();
  await fill(backend, 1, BLOCK, BLOCK);
  await fill(backend, 1, 2 * BLOCK, BLOCK);
  await backend.flush!();
  // A dirty block, parts of blocks that are clean or not here, and whole blocks.
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
  ] as const
) {
  Deno.test(`cache + a failed FUA write + no later flush is true, after ${what}`, async () => {
    const { file, failOnce } = overPageCache();
    const backend = cached({ size: 2 * BLOCK, mode: "write-back" }, file);
    await fill(backend, 1, 0, BLOCK);
    await change(backend);
    failOnce();
    const write = async () => await backend.writeAt(filled(BLOCK, 2), 4 * BLOCK, { fua: true });
    await assertRejects(write, Error, "EIO: flush");
    await assertRejects(async () => await backend.flush!(), Error, "an earlier flush has failed");
  });

  Deno.test(`cache + a failed flush + no later one is true, after ${what}`, async () => {
    const { disk, failOnce } = forgetful();
    const backend = cached({ size: 2 * BLOCK, mode: "write-back" }, disk);
    await fill(backend, 1, 0, BLOCK);
    await change(backend);
    failOnce();
    await assertRejects(async () => await backend.flush!(), Error, "EIO: flush");
    for (const _ of [1, 2]) {
      await assertRejects(async () => await backend.flush!(), Error, "an earlier flush has failed");
    }
    // It promises no more than its own data.
    await backend.writeAt(filled(BLOCK, 2), 0, { fua: true });
    await assertRejects(async () => await backend.close!(), Error, "an earlier flush has failed");
  });
}

Deno.test("cache write-through + a failed flush + the next one is the disk's", async () => {
  const { disk, failOnce } = forgetful();
  const through = cached({ size: "64K" }, disk);
  failOnce();
  await assertRejects(async () => await through.flush!(), Error, "EIO: flush");
  await through.flush!();
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
