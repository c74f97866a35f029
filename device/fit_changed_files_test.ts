/**
 * Recovery of a device whose file or block device has other abilities than when it was made: with
 * its own block size and all that it was made with. Its backend probed them anew, and was refused.
 *
 * @module
 */

import { assertEquals, assertRejects } from "@std/assert";
import { loadBackend } from "../disk/load.ts";
import { file } from "../backends/loop.ts";
import type { BackendSpec } from "../disk/spec.ts";
import { stripe } from "../backends/stripe.ts";
import { log } from "../backends/wrappers/log.ts";
import type { DiskDescription } from "../ctrl/params.ts";
import { traitsOf } from "../disk/traits.ts";
import { run, Scratch, unmount } from "../tests/scratch.ts";
import { OpenedDisk } from "../disk/opened.ts";
import { UblkError } from "../uapi/error.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { misfit } from "./fit.ts";

// Opened for good, and before a test, whose sanitizer would call it a leak.
openAllOfLibc();

const MIB = 1 << 20;
const settings = { perIoDaemons: false, allowVolatile: false };

/** What a device was that a file or disk without any limit was below. */
const made: DiskDescription = {
  sizeBytes: MIB,
  blockSize: 512,
  physicalBlockSize: 4096,
  ioMinBytes: 4096,
  ioOptBytes: 4096,
  maxIoBytes: MIB,
  readOnly: false,
  rotational: false,
  flush: true,
  fua: true,
  maxTrimBytes: MIB,
  maxWriteZeroesBytes: MIB,
  discardGranularityBytes: 4096,
  zoneBytes: 0,
  metadataSize: 0,
  charDevice: "",
  blockDevice: "",
};

/** A loop device over a file in that folder. */
class Loop implements Disposable {
  readonly path: string;

  constructor(scratch: Scratch, ...options: string[]) {
    const image = scratch.file(`image ${options.join(" ")}`, MIB);
    this.path = run("losetup", "--find", "--show", ...options, image);
  }

  [Symbol.dispose]() {
    // Its next user would have it write-protected.
    run("blockdev", "--setrw", this.path);
    run("losetup", "--detach", this.path);
  }
}

/** A folder on a ramfs: its files, and loop devices over them, give no space back. */
class Ramfs extends Scratch {
  constructor() {
    super();
    run("mount", "-t", "ramfs", "none", this.path);
  }

  override [Symbol.dispose]() {
    unmount(this.path);
    super[Symbol.dispose]();
  }
}

/** The reason not to recover a device with that backend. */
async function reason(spec: BackendSpec, disk: DiskDescription): Promise<string | undefined> {
  await using stack = await OpenedDisk.open(spec, { recovered: { blockSize: disk.blockSize } });
  return misfit(disk, 0, traitsOf(stack.backend), settings)?.reason;
}

Deno.test("a device is recovered over all that it could have been made over", async () => {
  using scratch = new Scratch();
  using ramfs = new Ramfs();
  using large = new Loop(scratch, "--sector-size", "4096");
  using small = new Loop(scratch);
  using withoutZeroes = new Loop(ramfs);
  using both = new Loop(ramfs, "--sector-size", "4096");
  const wholes = [scratch.file("file", MIB), ramfs.file("moved to another filesystem", MIB)];
  for (const path of [...wholes, ...[large, small, withoutZeroes, both].map(({ path }) => path)]) {
    for (const blockSize of [512, 1024, 2048, 4096]) {
      const disk = { ...made, blockSize };
      assertEquals(await reason(file(path), disk), undefined, `${path}, ${blockSize}`);
      assertEquals(await reason(stripe([path]), disk), undefined, `stripe ${path}, ${blockSize}`);
      const wrapped = log(file(path), { file: "/dev/null" });
      assertEquals(await reason(wrapped, disk), undefined, `wrapped ${path}, ${blockSize}`);
      const options = { blockSize };
      assertEquals(
        await reason(file(path, options), disk),
        undefined,
        `${path}, said ${blockSize}`,
      );
    }
  }
});

Deno.test("a device is recovered past the page cache, with any block that goes through", async () => {
  using scratch = new Scratch();
  using large = new Loop(scratch, "--sector-size", "4096");
  using small = new Loop(scratch);
  const direct = { direct: true };
  for (const blockSize of [512, 1024, 2048, 4096]) {
    assertEquals(await reason(file(small.path, direct), { ...made, blockSize }), undefined);
  }
  // The kernel refuses each request of such a block.
  const words = "its blocks have 512 bytes, the backend's 4096";
  assertEquals(await reason(file(large.path, direct), made), words);
  await assertRejects(
    () =>
      OpenedDisk.open(file(large.path, { direct: true, blockSize: 512 }), {
        recovered: { blockSize: 512 },
      }),
    UblkError,
    "no blocks of 512",
  );
});

Deno.test("a device is recovered over a disk that was write-protected meanwhile", async () => {
  using scratch = new Scratch();
  using loop = new Loop(scratch);
  run("blockdev", "--setro", loop.path);
  assertEquals(await reason(file(loop.path), made), undefined);
  // So was one that was made over it, and stays.
  const readOnly = { ...made, readOnly: true, maxTrimBytes: 0, maxWriteZeroesBytes: 0 };
  assertEquals(await reason(file(loop.path), readOnly), undefined);
  // A new device says what is true.
  const loaded = await loadBackend(file(loop.path));
  const shared = await loaded.share();
  const { readOnly: isReadOnly, trim } = await loaded.open(0, shared);
  assertEquals([isReadOnly, trim], [true, undefined]);
  await loaded.unshare(shared);
  // Asked for, it takes no writes, and the device does.
  const asked = await reason(file(loop.path, { readOnly: true }), made);
  assertEquals(asked, "it takes writes, the backend none");
});
