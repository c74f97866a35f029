import { assert, assertEquals, assertRejects } from "@std/assert";
import { asyncMemory } from "../../tests/backends/async_memory.ts";
import { BLOCK, prepareOverlay, SIZE } from "../../tests/overlay.ts";
import { allocatedBytes, Scratch } from "../../tests/scratch.ts";
import { endAsKilled, fill, openStack, readBytes } from "../../tests/stack.ts";
import { UblkError } from "../../uapi/error.ts";
import { Dice } from "../../uapi/dice.ts";
import { O_RDWR } from "../../uring/file.ts";
import { closeFd, openAllOfLibc, openFile } from "../../uring/libc.ts";
import type { Backend } from "../../disk/backend.ts";
import { file } from "../loop.ts";
import { cow, open } from "./cow.ts";
import { delay } from "./delay.ts";
import { eachSeed } from "../../tests/seeds.ts";

// Opened once for the process, so that the sanitizer reports no leak.
openAllOfLibc();

const MIB = 1 << 20;
/** The layout of an overlay's file. */
const COMMITTED_AT = 4096;
const DATA_AT = MIB;

const zeroes = (bytes: number) => new Uint8Array(bytes);

Deno.test("cow is a disk that starts as its base and leaves it alone", async (t) => {
  await eachSeed(t, 3, async (seed) => {
    using scratch = new Scratch();
    const { path, base, overlay, spec } = prepareOverlay(scratch);
    const model = base.slice();
    const dice = new Dice(seed);
    for (let life = 0; life < 4; life++) {
      await using stack = await openStack(spec);
      const { backend } = stack;
      assertEquals(await readBytes(backend, 0, SIZE), model, `in life ${life}`);
      for (let round = 0; round < 40; round++) {
        const sectors = 1 + dice.draw(300);
        const at = dice.draw(SIZE / 512 - sectors + 1) * 512;
        const bytes = sectors * 512;
        const kind = dice.draw(8);
        if (kind === 0) {
          await backend.writeZeroes!(at, bytes, { mayUnmap: dice.draw(2) === 0 });
          model.fill(0, at, at + bytes);
        } else if (kind === 1) {
          await backend.flush!();
        } else if (kind < 5) {
          const data = new Uint8Array(bytes).map(() => dice.draw(256));
          await backend.writeAt(data, at, { fua: dice.draw(3) === 0 });
          model.set(data, at);
        } else {
          assertEquals(await readBytes(backend, at, bytes), model.slice(at, at + bytes));
        }
      }
      // Every other server is killed, and leaves its writes in the page cache.
      if (life % 2 === 0) endAsKilled(stack, [overlay]);
    }
    assertEquals(Deno.readFileSync(path), base);
  });
});

Deno.test("cow takes the space of what was written, and gives it back when that is trimmed", async () => {
  using scratch = Scratch.inMemory();
  const { overlay, spec } = prepareOverlay(scratch);
  await using stack = await openStack(spec);
  await stack.backend.flush!();
  const empty = allocatedBytes(overlay);
  assert(empty <= 3 * 4096, `${empty}`);
  await fill(stack.backend, 1, 512, 512);
  await stack.backend.flush!();
  assertEquals(allocatedBytes(overlay) - empty, BLOCK, "a block is copied whole");
  await stack.backend.trim!(0, BLOCK);
  await stack.backend.flush!();
  assertEquals(allocatedBytes(overlay), empty);
  assertEquals(await readBytes(stack.backend, 0, BLOCK), zeroes(BLOCK));
});

Deno.test("cow copies nothing of a block that is written whole", async () => {
  using scratch = Scratch.inMemory();
  const { path, spec } = prepareOverlay(scratch);
  await using stack = await openStack(spec);
  // A base that has become too short can no longer be read.
  Deno.truncateSync(path, 512);
  await fill(stack.backend, 1, BLOCK, BLOCK);
  await fill(stack.backend, 2, 16 * BLOCK, 4096);
  assertEquals(await readBytes(stack.backend, BLOCK, 512), new Uint8Array(512).fill(1));
  await assertRejects(() => fill(stack.backend, 3, 2 * BLOCK, 512), UblkError, "EIO");
});

Deno.test("cow commits with a flush, and not before", async () => {
  using scratch = Scratch.inMemory();
  const { overlay, spec } = prepareOverlay(scratch);
  await using stack = await openStack(spec);
  const committed = () => Deno.readFileSync(overlay)[COMMITTED_AT];
  await fill(stack.backend, 1, 0, 512);
  assertEquals(committed(), 0);
  await stack.backend.flush!();
  assertEquals(committed(), 1);
});

Deno.test("cow + an overlay whose last flush failed + is resumed with what is committed", async () => {
  using scratch = Scratch.inMemory();
  const { base, overlay, spec } = prepareOverlay(scratch);
  {
    await using stack = await openStack(spec);
    await fill(stack.backend, 1, 0, 512);
    await stack.backend.flush!();
    await fill(stack.backend, 2, BLOCK, 512);
    endAsKilled(stack, [overlay]);
  }
  const header = new TextDecoder().decode(Deno.readFileSync(overlay).subarray(0, 200));
  const noBoot = header.split("\n")[0].replace(/"boot":"[^"]*"/, '"boot":""');
  {
    using file = Deno.openSync(overlay, { write: true });
    file.writeSync(new TextEncoder().encode(`${noBoot}\n`));
  }
  await using stack = await openStack(spec);
  assertEquals(await readBytes(stack.backend, 0, 4), new Uint8Array(4).fill(1));
  assertEquals(await readBytes(stack.backend, BLOCK, 4), base.slice(BLOCK, BLOCK + 4));
  await stack.backend.flush!();
  assertEquals(Deno.readFileSync(overlay)[COMMITTED_AT], 0b01);
});

Deno.test("cow over a disk with Promises keeps writes to parts of a block from each other", async () => {
  using scratch = Scratch.inMemory();
  const inner = delay(asyncMemory(SIZE), { read: "1ms" });
  await using stack = await openStack(cow(inner, { file: `${scratch.path}/over` }));
  const { backend } = stack;
  const sectors = Array.from({ length: 64 }, (_, index) => index);
  // Sectors of one block, and requests that cover the whole block.
  const writes = sectors.map((sector) => fill(backend, sector + 1, sector * 1024, 512));
  const whole = fill(backend, 0xff, BLOCK, BLOCK);
  await Promise.all([...writes, whole, fill(backend, 7, 2 * BLOCK - 512, 1024)]);
  for (const sector of sectors) {
    const bytes = await readBytes(backend, sector * 1024, 1024);
    assertEquals([bytes[0], bytes[511], bytes[512]], [sector + 1, sector + 1, 0]);
  }
  const [last, next] = [await readBytes(backend, 2 * BLOCK - 512, 512), 2 * BLOCK];
  assert(last[0] === 7 || last[0] === 0xff);
  assertEquals(
    (await readBytes(backend, next, 1024)).slice(510, 514),
    new Uint8Array([7, 7, 0, 0]),
  );
});

Deno.test("cow over a disk with Promises does not copy over what is written while it copies", async () => {
  using scratch = Scratch.inMemory();
  const inner = delay(asyncMemory(SIZE), { read: "5ms" });
  await using stack = await openStack(cow(inner, { file: `${scratch.path}/over` }));
  const part = fill(stack.backend, 1, 512, 512);
  const whole = fill(stack.backend, 2, 0, BLOCK);
  await Promise.all([part, whole]);
  const bytes = await readBytes(stack.backend, 0, BLOCK);
  assertEquals([bytes[0], bytes[1024], bytes[BLOCK - 1]], [2, 2, 2]);
});

/** A base whose reads wait until they are released, and a cow over it. */
async function overGated(scratch: Scratch) {
  const gates: (() => void)[] = [];
  const disk: Backend = {
    size: SIZE,
    readAt: (buffer) => new Promise((resolve) => gates.push(() => (buffer.fill(0xba), resolve()))),
    writeAt() {},
  };
  const overlay = `${scratch.path}/over`;
  const backend = await open({ file: overlay }, { inner: [disk], recovering: false });
  const letGo = () => {
    for (const gate of gates.splice(0)) gate();
  };
  return { backend, overlay, letGo };
}

Deno.test("cow keeps a buffer for as long as its base still fills it, though the overlay fails", async () => {
  using scratch = Scratch.inMemory();
  const { backend, overlay, letGo } = await overGated(scratch);
  await fill(backend, 1, BLOCK, BLOCK);
  // The file has become shorter, so its blocks cannot be read.
  Deno.truncateSync(overlay, DATA_AT);
  const buffer = new Uint8Array(2 * BLOCK);
  const answer = backend.readAt(buffer, 0);
  let settled = false;
  const failed = assertRejects(async () => await answer, UblkError, "EIO")
    .finally(() => settled = true);
  await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals([settled, buffer[0]], [false, 0]);
  letGo();
  await failed;
  assertEquals(buffer[0], 0xba);
  await backend.close!();
});

Deno.test("cow that is closed writes no more, though its base answers late", async () => {
  using scratch = Scratch.inMemory();
  const { backend, overlay, letGo } = await overGated(scratch);
  await fill(backend, 1, BLOCK, BLOCK);
  const late = fill(backend, 2, 0, 512);
  await backend.close!();
  assertEquals(Deno.readFileSync(overlay)[COMMITTED_AT], 0b10, "what was answered is committed");
  // Another file has the descriptor's number now. It once received data of the overlay.
  const other = scratch.file("other", 2 * MIB);
  const fds = Array.from({ length: 4 }, () => openFile(other, O_RDWR));
  letGo();
  await assertRejects(() => late, UblkError, "EBADF");
  for (const fd of fds) closeFd(fd);
  assertEquals(Deno.readFileSync(other).findIndex((byte) => byte !== 0), -1);
});

Deno.test("cow lets two disks have one base", async () => {
  using scratch = Scratch.inMemory();
  const { path, base } = prepareOverlay(scratch);
  const over = (name: string) =>
    cow(file(path, { readOnly: true }), { file: `${scratch.path}/${name}` });
  await using one = await openStack(over("one"));
  await using two = await openStack(over("two"));
  await fill(one.backend, 1, 0, 512);
  assertEquals(await readBytes(two.backend, 0, 512), base.slice(0, 512));
});
