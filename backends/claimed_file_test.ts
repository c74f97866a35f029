import { assert, assertEquals, assertRejects } from "@std/assert";
import { Scratch } from "../tests/scratch.ts";
import { testLibc } from "../tests/libc.ts";
import { openStack } from "../tests/stack.ts";
import { UblkError } from "../uapi/error.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { realFiles } from "../files/real.ts";
import { file } from "./loop.ts";
import { memory } from "./memory.ts";
import { cow } from "./wrappers/cow.ts";

// Opened once for the process: no test leaks it.
openAllOfLibc();

const MIB = 1 << 20;

/** Holds the lock of a file. */
function hold(path: string): Disposable {
  const held = realFiles.open(path, { write: true });
  assert(held.lock("exclusive"));
  return held;
}

// A cow over it waited two seconds, and the device was lost.
Deno.test("a recovery waits for the locks of a dead server, whatever part of the disk has them", async () => {
  using scratch = new Scratch();
  const disk = file(scratch.file("disk", MIB), {
    metadataPath: scratch.file("m", MIB),
    metadataSize: 8,
  });
  const over = cow(memory(MIB), { file: `${scratch.path}/over` });
  await (await openStack(over))[Symbol.asyncDispose]();
  const held = ["disk", "m", "over"].map((name) => hold(`${scratch.path}/${name}`));
  setTimeout(() => held.forEach((one) => one[Symbol.dispose]()), 2300);
  const open = [disk, over].map((spec) => openStack(spec, 0, { blockSize: 512 }));
  for (const stack of await Promise.allSettled(open)) {
    assertEquals(stack.status, "fulfilled");
    if (stack.status === "fulfilled") await stack.value[Symbol.asyncDispose]();
  }
});

Deno.test("a file in use is to be shared only where that is possible", async () => {
  using scratch = new Scratch();
  const path = scratch.file("disk", MIB);
  const over = `${scratch.path}/over`;
  await (await openStack(cow(memory(MIB), { file: over })))[Symbol.asyncDispose]();
  using _held = hold(path);
  using _over = hold(over);
  const hintOf = async (open: Promise<unknown>) =>
    (await assertRejects(() => open, UblkError)).hint;
  const hints = await Promise.all([
    hintOf(openStack(file(path))),
    hintOf(openStack(cow(memory(MIB), { file: over }))),
  ]);
  assertEquals(hints, [
    "end it, give a copy, or let both share it (shared)",
    "end it, or give a copy",
  ]);
});

/** Copies each of this process's descriptors of a file, as a child has them that is being started. */
function copyDescriptors(path: string): Disposable {
  const copies = [...Deno.readDirSync("/proc/self/fd")].flatMap(({ name }) => {
    try {
      const isOfFile = Deno.readLinkSync(`/proc/self/fd/${name}`) === path;
      return isOfFile ? [testLibc.dup(Number(name))] : [];
    } catch {
      // The descriptor of the folder itself.
      return [];
    }
  });
  assert(copies.length > 0, `${path} is not open`);
  return { [Symbol.dispose]: () => copies.forEach((fd) => testLibc.close(fd)) };
}

// The file of a cow was in use for the next one as long as such a child was there.
for (const what of ["disk", "m", "over"]) {
  Deno.test(`a file that is closed has no lock, though a child has a copy of its descriptor: ${what}`, async () => {
    using scratch = new Scratch();
    const metadata = { metadataPath: scratch.file("m", MIB), metadataSize: 8 };
    const base = file(scratch.file("disk", MIB), metadata);
    const disk = what === "over" ? cow(memory(MIB), { file: `${scratch.path}/over` }) : base;
    const stack = await openStack(disk);
    using _copies = copyDescriptors(Deno.realPathSync(`${scratch.path}/${what}`));
    await stack[Symbol.asyncDispose]();
    using _held = hold(`${scratch.path}/${what}`);
  });
}
