import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { asyncMemory } from "../../tests/backends/async_memory.ts";
import { allocatedBytes, Scratch } from "../../tests/scratch.ts";
import { endAsKilled, fill, openStack, readBytes } from "../../tests/stack.ts";
import { runChild } from "../../tests/seccomp.ts";
import { EFBIG, EINTR, EIO, ENOSPC, EOPNOTSUPP } from "../../uapi/errno.ts";
import { UblkError } from "../../uapi/error.ts";
import { Dice } from "../../uapi/dice.ts";
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  fallocateFile,
  O_RDWR,
} from "../../uring/file.ts";
import { closeFd, libc, openFile } from "../../uring/libc.ts";
import type { Backend } from "../../disk/backend.ts";
import { file } from "../loop.ts";
import { memory } from "../memory.ts";
import { cow, open } from "./cow.ts";
import { delay } from "./delay.ts";
import { eachSeed } from "../../tests/seeds.ts";

// Opened once for the process: no test leaks it.
libc();

const isRoot = Deno.uid() === 0;
const MIB = 1 << 20;
const BLOCK = 64 << 10;
/** A last block that is not whole. */
const SIZE = 16 * BLOCK + 4096;

/** Where an overlay keeps what; as in the file itself. */
const COMMITTED_AT = 4096;
const CURRENT_AT = 8192;
const DATA_AT = MIB;

/** A base that is full of a pattern, and the path of an overlay. */
function prepare(scratch: Scratch) {
  const path = `${scratch.path}/base`;
  const base = new Uint8Array(SIZE).map((_, index) => (index >> 9) * 7 + index);
  Deno.writeFileSync(path, base);
  const overlay = `${scratch.path}/over`;
  return { path, base, overlay, spec: cow(file(path, { readOnly: true }), { file: overlay }) };
}

/** Changes bytes of a file behind everybody's back. */
function patch(path: string, at: number, bytes: Uint8Array): void {
  using open = Deno.openSync(path, { write: true });
  open.seekSync(at, Deno.SeekMode.Start);
  open.writeSync(bytes);
}

/** One byte of a file, which may be long. */
function byteAt(path: string, at: number): number {
  using open = Deno.openSync(path);
  open.seekSync(at, Deno.SeekMode.Start);
  const byte = new Uint8Array(1);
  open.readSync(byte);
  return byte[0];
}

const zeroes = (bytes: number) => new Uint8Array(bytes);

Deno.test("cow is a disk that starts as its base and leaves it alone", async (t) => {
  await eachSeed(t, 3, async (seed) => {
    using scratch = new Scratch();
    const { path, base, overlay, spec } = prepare(scratch);
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
      // Every other server is killed: what it wrote is in the page cache.
      if (life % 2 === 0) endAsKilled(stack, [overlay]);
    }
    assertEquals(Deno.readFileSync(path), base);
  });
});

Deno.test("cow takes the space of what was written, and gives it back when that is trimmed", async () => {
  using scratch = new Scratch();
  const { overlay, spec } = prepare(scratch);
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
  using scratch = new Scratch();
  const { path, spec } = prepare(scratch);
  await using stack = await openStack(spec);
  // A base that has become too short cannot be read any more.
  Deno.truncateSync(path, 512);
  await fill(stack.backend, 1, BLOCK, BLOCK);
  await fill(stack.backend, 2, 16 * BLOCK, 4096);
  assertEquals(await readBytes(stack.backend, BLOCK, 512), new Uint8Array(512).fill(1));
  await assertRejects(() => fill(stack.backend, 3, 2 * BLOCK, 512), UblkError, "EIO");
});

Deno.test("cow + loss of power: what was flushed is there, what was not is the base again", async () => {
  using scratch = new Scratch();
  const { base, overlay, spec } = prepare(scratch);
  {
    await using stack = await openStack(spec);
    await fill(stack.backend, 1, 0, BLOCK);
    await stack.backend.flush!();
    await fill(stack.backend, 2, BLOCK, BLOCK);
    await stack.backend.writeAt(new Uint8Array(512).fill(3), 2 * BLOCK, { fua: true });
    await fill(stack.backend, 4, 3 * BLOCK, BLOCK);
    endAsKilled(stack, [overlay]);
  }
  // The bits of all four blocks reached the disk; the blocks that were not flushed did not.
  patch(overlay, DATA_AT + 3 * BLOCK, zeroes(BLOCK));
  const after = Deno.readFileSync(overlay);
  assertEquals([after[COMMITTED_AT], after[CURRENT_AT]], [0b0111, 0b1111]);
  const header = new TextDecoder().decode(after.subarray(0, 200)).split("\n")[0];
  const boot = JSON.parse(header).boot as string;
  const other = header.replace(boot, boot.replaceAll(/[0-9a-f]/g, "0"));
  patch(overlay, 0, new TextEncoder().encode(`${other}\n`));
  await using stack = await openStack(spec);
  const { backend } = stack;
  assertEquals(await readBytes(backend, 0, 512), new Uint8Array(512).fill(1));
  assertEquals(await readBytes(backend, BLOCK, 512), new Uint8Array(512).fill(2), "with the FUA");
  assertEquals(await readBytes(backend, 2 * BLOCK, 512), new Uint8Array(512).fill(3));
  assertEquals(await readBytes(backend, 2 * BLOCK + 512, 512), base.slice(131584, 132096));
  const unflushed = await readBytes(backend, 3 * BLOCK, BLOCK);
  assertEquals(unflushed, base.slice(3 * BLOCK, 4 * BLOCK), "the base's, and not a hole");
  // From here on the current bitmap is that of this boot.
  assertEquals(Deno.readFileSync(overlay)[CURRENT_AT], 0b0111);
});

Deno.test("cow commits with a flush, and not before", async () => {
  using scratch = new Scratch();
  const { overlay, spec } = prepare(scratch);
  await using stack = await openStack(spec);
  const committed = () => Deno.readFileSync(overlay)[COMMITTED_AT];
  await fill(stack.backend, 1, 0, 512);
  assertEquals(committed(), 0);
  await stack.backend.flush!();
  assertEquals(committed(), 1);
});

Deno.test("cow + a killed server: what was answered is there, and the next flush commits it", async () => {
  using scratch = new Scratch();
  const { overlay, spec } = prepare(scratch);
  {
    await using stack = await openStack(spec);
    await fill(stack.backend, 9, 512, 512);
    endAsKilled(stack, [overlay]);
  }
  const bits = () => {
    const bytes = Deno.readFileSync(overlay);
    return [bytes[COMMITTED_AT], bytes[CURRENT_AT]];
  };
  assertEquals(bits(), [0, 1]);
  await using stack = await openStack(spec);
  assertEquals(await readBytes(stack.backend, 512, 512), new Uint8Array(512).fill(9));
  await stack.backend.flush!();
  assertEquals(bits(), [1, 1]);
});

/** A tmpfs that is full for as long as this is not disposed of, beside one page that is punched. */
function fullWithout(scratch: Scratch, path: string, at: number): Disposable {
  const fd = openFile(path, O_RDWR);
  const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  assertEquals(fallocateFile(fd, mode, at, 4096), 0);
  closeFd(fd);
  const filler = `${scratch.path}/filler`;
  using file = Deno.openSync(filler, { write: true, create: true });
  try {
    while (file.writeSync(new Uint8Array(4096)) > 0);
  } catch (error) {
    assert((error as { code?: string }).code === "ENOSPC", `${error}`);
  }
  return { [Symbol.dispose]: () => Deno.removeSync(filler) };
}

for (const flushes of [false, true]) {
  Deno.test({
    name: flushes
      ? "cow + a killed server: what is committed is there, though it could not be noted before"
      : "cow notes with the next write what it could not note",
    ignore: !isRoot,
    fn: async () => {
      using scratch = new Scratch("8M");
      const { overlay, spec } = prepare(scratch);
      {
        await using stack = await openStack(spec);
        const write = () => fill(stack.backend, 5, 0, BLOCK);
        // The block has its space already, as on a filesystem that gives bitmaps none beforehand.
        patch(overlay, DATA_AT, zeroes(BLOCK));
        {
          using _full = fullWithout(scratch, overlay, CURRENT_AT);
          await assertRejects(write, UblkError, "ENOSPC");
          if (flushes) await stack.backend.flush!();
          else await assertRejects(write, UblkError, "ENOSPC", "what is not noted is not answered");
        }
        // There is room again. What is answered from here on must outlive the server.
        if (!flushes) await write();
        endAsKilled(stack, [overlay]);
      }
      await using stack = await openStack(spec);
      assertEquals(await readBytes(stack.backend, 512, 4), new Uint8Array(4).fill(5));
    },
  });
}

Deno.test("cow never says again that it has flushed once a flush has failed", async () => {
  using scratch = new Scratch();
  const { overlay, spec } = prepare(scratch);
  await using stack = await openStack(spec);
  await fill(stack.backend, 1, 0, 512);
  endAsKilled(stack, [overlay]);
  assertThrows(() => stack.backend.flush!(), UblkError, "EBADF");
  // Somebody else may have the number of the descriptor by now, and could be flushed well.
  assertThrows(() => stack.backend.flush!(), UblkError, "an earlier flush has failed");
});

/** `syscall(2)` numbers on x86-64. */
const SYS_pwrite64 = 18;
const SYS_fdatasync = 75;
const SYS_ftruncate = 77;
const SYS_fallocate = 285;

Deno.test("cow + a failed flush: the next server does not commit what that may have lost", async () => {
  using scratch = new Scratch();
  const { base, overlay, spec } = prepare(scratch);
  const url = (path: string) => JSON.stringify(import.meta.resolve(path));
  // A server that ends without a word when its disk fails.
  const { stdout, stderr } = await runChild(`
    import { OverlayFile } from ${url("./overlay_file.ts")};
    import { denySyscall } from ${url("../../tests/seccomp.ts")};
    const overlay = await OverlayFile.open(${JSON.stringify(overlay)}, ${SIZE});
    const put = (block) => {
      overlay.write(new Uint8Array(${BLOCK}).fill(7), block * ${BLOCK});
      overlay.mark(block, block + 1);
    };
    put(0);
    overlay.flush();
    put(1);
    denySyscall(${SYS_fdatasync}, ${EIO});
    try { overlay.flush(); } catch (error) { console.log(error.message); }
  `);
  assertEquals([stdout, stderr], ["fdatasync: EIO\n", ""]);
  // What the kernel could not write it has dropped.
  patch(overlay, DATA_AT + BLOCK, zeroes(BLOCK));
  await using stack = await openStack(spec);
  const { backend } = stack;
  assertEquals(await readBytes(backend, 512, 4), new Uint8Array(4).fill(7));
  assertEquals(await readBytes(backend, BLOCK, 4), base.slice(BLOCK, BLOCK + 4));
  await backend.flush!();
  assertEquals(Deno.readFileSync(overlay)[COMMITTED_AT], 0b01);
});

// The page cache shows what a failed fdatasync did not write, and calls it clean. The next server
// trusted that: a flush of a block whose bit was there committed nothing.
Deno.test("cow + a failed commit: the next server's flush writes what is committed once more", async () => {
  using scratch = new Scratch();
  const { overlay, spec } = prepare(scratch);
  {
    await using stack = await openStack(spec);
    for (const block of [0, 1]) await fill(stack.backend, 7, block * BLOCK, BLOCK);
    await stack.backend.flush!();
    endAsKilled(stack, [overlay]);
  }
  const header = new TextDecoder().decode(Deno.readFileSync(overlay).subarray(0, 200));
  const unknown = header.split("\n")[0].replace(/"boot":"[^"]*"/, '"boot":""');
  patch(overlay, 0, new TextEncoder().encode(`${unknown}\n`));
  await using stack = await openStack(spec);
  const { backend } = stack;
  assertEquals(await readBytes(backend, BLOCK, 4), new Uint8Array(4).fill(7));
  await fill(backend, 8, BLOCK, 512);
  // The page cache had the bits, and the disk has not.
  patch(overlay, COMMITTED_AT, zeroes(1));
  await backend.flush!();
  assertEquals(Deno.readFileSync(overlay)[COMMITTED_AT], 0b11);
});

Deno.test({
  name: "cow + a flush that finds no room for what it notes: the next one does it",
  ignore: !isRoot,
  fn: async () => {
    using scratch = new Scratch("8M");
    const { overlay, spec } = prepare(scratch);
    {
      await using stack = await openStack(spec);
      await fill(stack.backend, 5, 0, BLOCK);
      {
        using _full = fullWithout(scratch, overlay, COMMITTED_AT);
        assertThrows(() => stack.backend.flush!(), UblkError, "ENOSPC");
      }
      await stack.backend.flush!();
      assertEquals(Deno.readFileSync(overlay)[COMMITTED_AT], 1);
      endAsKilled(stack, [overlay]);
    }
    await using stack = await openStack(spec);
    assertEquals(await readBytes(stack.backend, 512, 4), new Uint8Array(4).fill(5));
  },
});

Deno.test({
  name: "cow + a flush that finds no room for a part of what it notes + the rest is committed",
  ignore: !isRoot,
  fn: async () => {
    using scratch = new Scratch("8M");
    const overlay = `${scratch.path}/over`;
    // Two pages of each bitmap.
    const spec = cow(memory("256MiB"), { file: overlay, block: 4096 });
    await using stack = await openStack(spec);
    await fill(stack.backend, 5, 0, 4096);
    await fill(stack.backend, 5, 200 * MIB, 4096);
    const second = COMMITTED_AT + 200 * MIB / 4096 / 8;
    {
      using _full = fullWithout(scratch, overlay, COMMITTED_AT);
      assertThrows(() => stack.backend.flush!(), UblkError, "ENOSPC");
      assertEquals([byteAt(overlay, COMMITTED_AT), byteAt(overlay, second)], [0, 1]);
    }
    await stack.backend.flush!();
    assertEquals(byteAt(overlay, COMMITTED_AT), 1);
  },
});

Deno.test("cow commits at an orderly end", async () => {
  using scratch = new Scratch();
  const { overlay, spec } = prepare(scratch);
  {
    await using stack = await openStack(spec);
    await fill(stack.backend, 1, 0, 512);
  }
  assertEquals(Deno.readFileSync(overlay)[COMMITTED_AT], 1);
});

Deno.test("cow over a disk with Promises keeps writes to parts of a block from each other", async () => {
  using scratch = new Scratch();
  const inner = delay(asyncMemory(SIZE), { read: "1ms" });
  await using stack = await openStack(cow(inner, { file: `${scratch.path}/over` }));
  const { backend } = stack;
  const sectors = Array.from({ length: 64 }, (_, index) => index);
  // Sectors of one block, some of them in one request that covers the block whole.
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
  using scratch = new Scratch();
  const inner = delay(asyncMemory(SIZE), { read: "5ms" });
  await using stack = await openStack(cow(inner, { file: `${scratch.path}/over` }));
  const part = fill(stack.backend, 1, 512, 512);
  const whole = fill(stack.backend, 2, 0, BLOCK);
  await Promise.all([part, whole]);
  const bytes = await readBytes(stack.backend, 0, BLOCK);
  assertEquals([bytes[0], bytes[1024], bytes[BLOCK - 1]], [2, 2, 2]);
});

/** A base whose reads are answered when they are let go, and a cow over it. */
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
  using scratch = new Scratch();
  const { backend, overlay, letGo } = await overGated(scratch);
  await fill(backend, 1, BLOCK, BLOCK);
  // The file has become shorter: what it has cannot be read.
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
  using scratch = new Scratch();
  const { backend, overlay, letGo } = await overGated(scratch);
  await fill(backend, 1, BLOCK, BLOCK);
  const late = fill(backend, 2, 0, 512);
  await backend.close!();
  assertEquals(Deno.readFileSync(overlay)[COMMITTED_AT], 0b10, "what was answered is committed");
  // The descriptor's number is another file's now, which once got what was the overlay's.
  const other = scratch.file("other", 2 * MIB);
  const fds = Array.from({ length: 4 }, () => openFile(other, O_RDWR));
  letGo();
  await assertRejects(() => late, UblkError, "EBADF");
  for (const fd of fds) closeFd(fd);
  assertEquals(Deno.readFileSync(other).findIndex((byte) => byte !== 0), -1);
});

Deno.test("cow refuses what is no overlay, or another disk's, or in use", async () => {
  using scratch = new Scratch();
  const { path, overlay, spec } = prepare(scratch);
  const base = file(path, { readOnly: true });
  const refused = async (make: () => Promise<unknown>, words: string) => {
    const error = await assertRejects(make, UblkError, words);
    assertEquals(error.message.includes("\n"), false);
  };
  const other = `${scratch.path}/other`;
  Deno.writeFileSync(other, new Uint8Array(SIZE).fill(1));
  await refused(() => openStack(cow(base, { file: other })), "is no overlay; give another file");
  assertEquals(Deno.readFileSync(other), new Uint8Array(SIZE).fill(1), "and it is left alone");
  const hole = scratch.file("hole", SIZE);
  await refused(() => openStack(cow(base, { file: hole })), "is no overlay; give another file");
  const empty = scratch.file("empty", 0);
  await using fresh = await openStack(cow(base, { file: empty }));
  assertEquals(fresh.backend.size, SIZE, "an empty file, such as mktemp makes, is as good as none");
  await refused(() => openStack(cow(base, { file: scratch.path })), "is a directory; give a file");
  {
    await using stack = await openStack(spec);
    assertEquals(stack.backend.size, SIZE);
    await refused(() => openStack(spec), "it is in use by another disk or program");
  }
  await refused(
    () => openStack(cow(memory(MIB), { file: overlay })),
    `${overlay} is over a disk of ${SIZE} bytes`,
  );
  await refused(
    () => openStack(cow(base, { file: overlay, block: 4096 })),
    `${overlay} has blocks of 65536 bytes, not 4096; leave block out`,
  );
});

Deno.test("cow + a device that is recovered + its overlay must be there", async () => {
  using scratch = new Scratch();
  const { overlay, spec } = prepare(scratch);
  const refused = async (words: string) => {
    const error = await assertRejects(
      () => openStack(spec, 0, { blockSize: 512 }),
      UblkError,
      words,
    );
    assertEquals(error.hint, "check that its filesystem is mounted, and the path");
  };
  // All that had been written was the base's again, under a filesystem that was in use.
  await refused("is not there");
  assertThrows(() => Deno.statSync(overlay), Deno.errors.NotFound);
  scratch.file("over", 0);
  await refused("is empty");
  assertEquals(Deno.statSync(overlay).size, 0);
  {
    await using stack = await openStack(spec);
    await fill(stack.backend, 5, 0, 512);
  }
  await using stack = await openStack(spec, 0, { blockSize: 512 });
  assertEquals(await readBytes(stack.backend, 0, 512), new Uint8Array(512).fill(5));
});

Deno.test("cow lets two disks have one base", async () => {
  using scratch = new Scratch();
  const { path, base } = prepare(scratch);
  const over = (name: string) =>
    cow(file(path, { readOnly: true }), { file: `${scratch.path}/${name}` });
  await using one = await openStack(over("one"));
  await using two = await openStack(over("two"));
  await fill(one.backend, 1, 0, 512);
  assertEquals(await readBytes(two.backend, 0, 512), base.slice(0, 512));
});

/** Makes an overlay in a child in which a system call fails, or is the end of it. */
async function makeInChild(path: string, number: number, errno?: number) {
  const url = (path: string) => JSON.stringify(import.meta.resolve(path));
  const { stdout } = await runChild(`
    import { OverlayFile } from ${url("./overlay_file.ts")};
    import { denySyscall, dieAtSyscall } from ${url("../../tests/seccomp.ts")};
    ${errno === undefined ? `dieAtSyscall(${number})` : `denySyscall(${number}, ${errno})`};
    try {
      await OverlayFile.open(${JSON.stringify(path)}, ${SIZE});
      console.log("made");
    } catch (error) { console.log(error.message); }
  `);
  return stdout.trim();
}

/** Bytes of a header and two bitmaps. */
const METADATA_BYTES = 3 * 4096;

// The first try failed, the second took what that had left for an overlay: one without space for
// its bitmaps, whose writes then failed.
for (const was of ["not there", "empty", "unfinished"] as const) {
  Deno.test({
    name: `cow + an overlay, ${was}, that finds no room for its bitmaps + nothing is left of it`,
    ignore: !isRoot,
    fn: async () => {
      using scratch = new Scratch("2M");
      const overlay = `${scratch.path}/over`;
      if (was === "empty") scratch.file("over", 0);
      if (was === "unfinished") assertEquals(await makeInChild(overlay, SYS_fdatasync), "");
      // Bitmaps of 256 KiB each.
      const big = cow(memory("8GiB"), { file: overlay, block: 4096 });
      {
        using _full = fullBeside(scratch, 128 << 10);
        for (const _ of [1, 2]) {
          const error = await assertRejects(() => openStack(big), UblkError);
          assertEquals(
            error.message,
            `wrapper cow: ${overlay} has no room for its bitmaps, which take 516 KiB (ENOSPC); ` +
              "make room on its filesystem, or use larger blocks (block)",
          );
          if (was === "not there") assertThrows(() => Deno.statSync(overlay), Deno.errors.NotFound);
          else assertEquals(Deno.statSync(overlay).size, 0);
        }
      }
      await using stack = await openStack(big);
      assert(allocatedBytes(overlay) >= 516 << 10);
      // What is written is noted, whatever becomes of the room: the block has its space already.
      await fill(stack.backend, 1, 0, 4096);
      using _full = fullBeside(scratch, 0);
      await fill(stack.backend, 2, 0, 4096);
      await stack.backend.flush!();
    },
  });
}

/** A tmpfs that has no more room than that, until this is disposed of. */
function fullBeside(scratch: Scratch, bytes: number): Disposable {
  const filler = `${scratch.path}/filler`;
  using file = Deno.openSync(filler, { write: true, create: true });
  try {
    while (file.writeSync(new Uint8Array(4096)) > 0);
  } catch (error) {
    assert((error as { code?: string }).code === "ENOSPC", `${error}`);
  }
  if (bytes > 0) file.truncateSync(Deno.statSync(filler).size - bytes);
  return { [Symbol.dispose]: () => Deno.removeSync(filler) };
}

for (
  const [step, number, header] of [
    ["it says that it is unfinished", SYS_pwrite64, ""],
    ["it has its length", SYS_ftruncate, '{"ublk":"unfinished cow"}\n'],
    ["it is durable", SYS_fdatasync, '{"ublk":"unfinished cow"}\n'],
  ] as const
) {
  Deno.test(`cow + a server killed before ${step} + the next one makes it whole`, async () => {
    using scratch = new Scratch();
    const { base, overlay, spec } = prepare(scratch);
    assertEquals(await makeInChild(overlay, number), "");
    const left = new TextDecoder().decode(Deno.readFileSync(overlay).subarray(0, header.length));
    assertEquals(left, header);
    // A device cannot have been served from it.
    await assertRejects(
      () => openStack(spec, 0, { blockSize: 512 }),
      UblkError,
      "which has what was written, is",
    );
    {
      await using stack = await openStack(spec);
      assertEquals(await readBytes(stack.backend, 0, SIZE), base);
      assert(allocatedBytes(overlay) >= METADATA_BYTES);
      await fill(stack.backend, 1, 0, 512);
    }
    await using stack = await openStack(spec);
    assertEquals(await readBytes(stack.backend, 0, 512), new Uint8Array(512).fill(1));
  });
}

Deno.test("cow + a step of its making that fails + nothing is left of it", async () => {
  using scratch = new Scratch();
  const overlay = `${scratch.path}/over`;
  for (
    const [number, errno, words] of [
      [SYS_pwrite64, ENOSPC, "has no room for its bitmaps"],
      [SYS_ftruncate, EFBIG, "cannot get"],
      [SYS_fallocate, EINTR, "fallocate: EINTR"],
      [SYS_fallocate, EIO, "fallocate: EIO"],
      [SYS_fdatasync, EIO, "fdatasync: EIO"],
    ] as const
  ) {
    const said = await makeInChild(overlay, number, errno);
    assert(said.includes(words), said);
    assertThrows(() => Deno.statSync(overlay), Deno.errors.NotFound);
  }
});

Deno.test("cow + a filesystem without fallocate + its bitmaps have space all the same", async () => {
  using scratch = new Scratch();
  const overlay = `${scratch.path}/over`;
  assertEquals(await makeInChild(overlay, SYS_fallocate, EOPNOTSUPP), "made");
  assert(allocatedBytes(overlay) >= METADATA_BYTES);
});

Deno.test({
  name: "cow + an overlay whose bitmaps have no space + gets it, or is refused",
  ignore: !isRoot,
  fn: async () => {
    using scratch = new Scratch("8M");
    const { overlay, spec } = prepare(scratch);
    await (await openStack(spec))[Symbol.asyncDispose]();
    // As an earlier version left it, and as a copy is that looks for zeroes.
    const fd = openFile(overlay, O_RDWR);
    const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    assertEquals(fallocateFile(fd, mode, COMMITTED_AT, 8192), 0);
    closeFd(fd);
    {
      using _full = fullBeside(scratch, 0);
      await assertRejects(() => openStack(spec), UblkError, "has no room for its bitmaps");
    }
    await using stack = await openStack(spec);
    assertEquals(stack.backend.size, SIZE);
    assert(allocatedBytes(overlay) >= METADATA_BYTES);
  },
});
