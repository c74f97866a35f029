import { assertEquals } from "@std/assert";
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
