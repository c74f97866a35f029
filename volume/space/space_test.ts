import { assert, assertEquals } from "@std/assert";
import { MemoryStore } from "../../store/memory.ts";
import { Dice } from "../../uapi/dice.ts";
import { inFolder } from "../../tests/volumes/folders.ts";
import { checkVolume } from "../check.ts";
import { volumeInfo } from "../list.ts";
import { Volume } from "../volume.ts";
import { Bases } from "./bases.ts";
import { collectVolume } from "./collect_volume.ts";
import { BESIDE_DRAIN, sparseChunks } from "./sparse.ts";

const BLOCK = 4096;

Deno.test("collectVolume + random overwrites + at most 1.2 times what is live is left", async () => {
  await inFolder(async (at) => {
    const blocks = 512;
    const store = new MemoryStore();
    await Volume.create("v", { store, size: blocks * BLOCK, chunkSize: "64K" });
    const dice = new Dice(1);
    const there = new Array<number>(blocks).fill(0);
    {
      await using volume = await Volume.open("v", { ...at, store });
      for (let nth = 0; nth < blocks * 10; nth += 64) {
        const chosen = new Set(Array.from({ length: 64 }, () => dice.draw(blocks)));
        await Promise.all([...chosen].map((block, one) => {
          there[block] = (nth + one) % 251 + 1;
          return volume.write(new Uint8Array(BLOCK).fill(there[block]), block * BLOCK);
        }));
        await volume.sync();
      }
    }
    const before = await volumeInfo(store, "v");
    const freed = await collectVolume(store, "v");
    const after = await volumeInfo(store, "v");
    assert(freed.bytes > 0 && before.storedBytes > 2 * after.storedBytes);
    assertEquals(after.mappedBytes, before.mappedBytes);
    const words = `${after.storedBytes} bytes for ${after.mappedBytes}`;
    assert(after.storedBytes <= 1.2 * after.mappedBytes, words);
    assertEquals((await checkVolume(store, "v")).findings, []);
    await using volume = await Volume.open("v", { store, readOnly: true });
    const found = new Uint8Array(blocks * BLOCK);
    await volume.read(found, 0);
    assertEquals(there.map((_, nth) => found[nth * BLOCK]), there);
  });
});

Deno.test("Bases + a state is one once the engine is quiet after its commit", () => {
  const name = (manifest: number) => ({ volume: "v", manifest, manifestSum: 0 });
  const extents = { blocks: [1], counts: [1], places: [1], length: 1 } as never;
  const bases = new Bases(name(1));
  bases.handedOver(name(2), extents);
  bases.replaced(name(3));
  bases.handedOver(name(4), extents);
  assertEquals([bases.newest.manifest, bases.since.length], [1, 2]);
  bases.quiet(0);
  assertEquals(bases.newest.manifest, 1);
  bases.quiet(1);
  assertEquals([bases.newest.manifest, bases.since.length], [3, 1]);
  bases.quiet(2);
  assertEquals([bases.newest.manifest, bases.since.length], [4, 0]);
});

Deno.test("sparseChunks + the emptiest first, and only while much is dead", () => {
  const held = [[1, 60], [2, 10], [3, 40], [4, 95]].map(([chunk, neededBytes]) => ({
    ...{ chunk, neededBytes, bytes: 100 },
  }));
  const needed = (
    storedBytes: number,
    neededBytes = 205,
  ) => [...sparseChunks({ held, storedBytes, neededBytes }, BESIDE_DRAIN)];
  assertEquals(needed(307), []);
  assertEquals(needed(308), [2]);
  assertEquals(needed(400), [2, 3]);
  // Those that are more than half full stay.
  assertEquals(needed(4000), [2, 3]);
});
