/**
 * Files and block devices as they are made, opened, locked and refused.
 */

import {
  assert,
  assertEquals,
  assertGreaterOrEqual,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { RingRequests } from "../tests/ring_requests.ts";
import { allocatedBytes, remountReadOnly, run, Scratch } from "../tests/scratch.ts";
import { OpenedDisk } from "../disk/opened.ts";
import { realFiles } from "../files/real.ts";
import { runChild } from "../tests/seccomp.ts";
import { UblkError } from "../uapi/error.ts";
import { closeLocked } from "../uring/file.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { loadBackend } from "../disk/load.ts";
import { openBackingFile } from "./backing_file.ts";
import { file, type FileOptions } from "./loop.ts";
import { compare, read } from "../tests/disk_io.ts";

// Opened once for the process, and before the tests, whose sanitizer would report a leak.
openAllOfLibc();

const MIB = 1 << 20;
const isRoot = Deno.uid() === 0;

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
  const going = realFiles.open(path, { write: true });
  assert(going.lock("exclusive"));
  const startMs = performance.now();
  // The first try is over when this returns. The next one finds the lock gone, however late it comes.
  const opening = openBackingFile(path, { readOnly: false, direct: false });
  going.close();
  closeLocked((await opening).fd);
  assertGreaterOrEqual(performance.now() - startMs, 45, "it has had to wait");
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
    remountReadOnly(scratch.path);
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

Deno.test("file of the kernel's, which has no end + is refused by its name, with a remedy", async () => {
  const path = "/proc/self/mem";
  await refused(path, {}, `${path}: its length cannot be found`, "give a file with contents, or");
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
        await compare(file(device!, { direct: true, blockSize: 4096 }), 5);
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
