import { assertEquals } from "@std/assert";
import { DiskHost } from "../disk/host.ts";
import type { BackendSpec } from "../disk/spec.ts";
import { extentsOf } from "../tests/extents.ts";
import { Scratch } from "../tests/scratch.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { file } from "./loop.ts";
import { nullDisk } from "./null.ts";
import { cow } from "./wrappers/cow.ts";
import { offset } from "./wrappers/offset.ts";
import { delay } from "./wrappers/delay.ts";
import { readonly } from "./wrappers/readonly.ts";

openAllOfLibc();

const MIB = 1 << 20;

/** The extents of a disk: how many bytes of data, and how many of a hole, in turn. */
async function extents(spec: BackendSpec): Promise<string[]> {
  await using host = await DiskHost.open(spec);
  return await extentsOf(host);
}

Deno.test("a file's holes + through wrappers that change no byte + are holes of the disk", async () => {
  using scratch = new Scratch();
  const path = scratch.file("disk", 8 * MIB);
  {
    using open = Deno.openSync(path, { write: true });
    for (const at of [MIB, 5 * MIB]) {
      open.seekSync(at, Deno.SeekMode.Start);
      open.writeSync(new Uint8Array(MIB).fill(1));
    }
  }
  const whole = [
    ...[`hole ${MIB}`, `data ${MIB}`, `hole ${3 * MIB}`, `data ${MIB}`, `hole ${2 * MIB}`],
  ];
  assertEquals(await extents(file(path)), whole);
  assertEquals(await extents(readonly(delay(file(path), { all: 1 }))), whole);
  assertEquals(await extents(offset(file(path), { start: MIB + 4096 })), [
    ...[`data ${MIB - 4096}`, `hole ${3 * MIB}`, `data ${MIB}`, `hole ${2 * MIB}`],
  ]);
  // The overlay's blocks may be where the base has a hole.
  const overlaid = cow(file(path, { readOnly: true }), { file: `${scratch.path}/overlay` });
  assertEquals(await extents(overlaid), [`data ${8 * MIB}`]);
});

Deno.test("a file's hole + blocks that are only partly in it + are data", async () => {
  using scratch = new Scratch();
  const path = scratch.file("disk", MIB);
  {
    using open = Deno.openSync(path, { write: true });
    open.writeSync(new Uint8Array(1024).fill(1));
  }
  // Filesystems have blocks of 4096 bytes, and the disk's are as large.
  assertEquals(await extents(file(path, { blockSize: 4096 })), ["data 4096", `hole ${MIB - 4096}`]);
});

Deno.test("the null disk + is one hole", async () => {
  assertEquals(await extents(nullDisk("1MiB")), [`hole ${MIB}`]);
});
