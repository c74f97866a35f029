import { assert, assertEquals } from "@std/assert";
import { volume } from "../backends/volume.ts";
import { DiskHost } from "../disk/host.ts";
import { extentsOf } from "../tests/extents.ts";
import { Scratch } from "../tests/scratch.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { UBLK_IO_OP_DISCARD, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import { Maps } from "./maps.ts";
import { Volume } from "./volume.ts";

openAllOfLibc();

const MIB = 1 << 20;

Deno.test("Maps.extentAt + runs at places that do not follow each other + are one extent", () => {
  const maps = new Maps(100, 4096);
  maps.chunks.set(10, 5, 700);
  maps.chunks.set(15, 5, 3);
  maps.write(20, 1, 8);
  maps.hole(17, 1, 16);
  assertEquals(maps.extentAt(0, 100), { blocks: 10, isHole: true });
  assertEquals(maps.extentAt(10, 90), { blocks: 7, isHole: false });
  assertEquals(maps.extentAt(17, 83), { blocks: 1, isHole: true });
  assertEquals(maps.extentAt(18, 82), { blocks: 3, isHole: false });
  assertEquals(maps.extentAt(11, 2), { blocks: 2, isHole: false });
  assertEquals(maps.extentAt(21, 79), { blocks: 79, isHole: true });
});

// Regression: one question went over a million runs, for up to half a second of the thread that serves
// all volumes.
Deno.test("Maps.extentAt + data of many runs, or a large hole + ends after some, and goes on there", () => {
  const maps = new Maps(1 << 24, 4096);
  const runs = 100_000;
  for (let block = 0; block < runs; block++) maps.chunks.set(block, 1, 2 * (runs - block));
  let finds = 0;
  const find = maps.find.bind(maps);
  maps.find = (block, count) => {
    finds++;
    return find(block, count);
  };
  const found: { blocks: number; isHole: boolean }[] = [];
  for (let at = 0; at < maps.blocks; at += found.at(-1)!.blocks) {
    finds = 0;
    found.push(maps.extentAt(at, maps.blocks - at));
    assert(finds <= 1024, `${finds} finds`);
  }
  const blocks = (isHole: boolean) =>
    found.reduce((sum, extent) => sum + (extent.isHole === isHole ? extent.blocks : 0), 0);
  assertEquals([blocks(false), blocks(true)], [runs, maps.blocks - runs]);
  assertEquals(found.findIndex(({ isHole }) => isHole), Math.ceil(runs / 1024));
  assert(found.length < 200, `${found.length} extents`);
});

Deno.test("a volume + writes and trims that were answered + are its extents, served and read-only", async () => {
  using scratch = new Scratch();
  const options = { store: `${scratch.path}/store`, journal: `${scratch.path}/journal` };
  await Volume.create("v", { store: options.store, size: 8 * MIB });
  const expected = [`hole ${MIB}`, `data ${MIB}`, `hole ${MIB}`, `data ${MIB}`, `hole ${4 * MIB}`];
  {
    await using host = await DiskHost.open(volume("v", { ...options, journalSize: "16MiB" }));
    const length = 3 * MIB;
    const buffer = new Uint8Array(length).fill(1);
    await host.request({ op: UBLK_IO_OP_WRITE, offset: MIB, length, buffer });
    await host.request({ op: UBLK_IO_OP_DISCARD, offset: 2 * MIB, length: MIB, mayUnmap: true });
    assertEquals(await extentsOf(host), expected);
  }
  await using host = await DiskHost.open(volume("v", { ...options, readOnly: true }));
  assertEquals(await extentsOf(host), expected);
});
