import { assert, assertEquals } from "@std/assert";
import { MemoryStore } from "../../store/memory.ts";
import { Dice } from "../../uapi/dice.ts";
import { inFolder } from "../../tests/volumes/folders.ts";
import type { Manifest } from "../format/manifest.ts";
import { checkVolume } from "../check.ts";
import { volumeInfo } from "../list.ts";
import { Volume } from "../volume.ts";
import { Bases } from "./bases.ts";
import { collectVolume } from "./collect_volume.ts";
import { BESIDE_DRAIN, ON_REQUEST, sparseChunks } from "./sparse.ts";

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
  const MIB = 1 << 20;
  const manifest = { blockSize: BLOCK, chunkSize: 4 * MIB } as Manifest;
  const held = [[1, 2.4], [2, 0.4], [3, 1.6], [4, 3.8]].map(([chunk, mib]) => ({
    ...{ chunk, neededBytes: Math.floor(mib * 256) * BLOCK, bytes: 4 * MIB },
  }));
  const needed = (storedMib: number) => {
    const sizes = { storedBytes: storedMib * MIB, neededBytes: 8.2 * MIB };
    return [...sparseChunks({ held, manifest, ...sizes }, BESIDE_DRAIN)];
  };
  assertEquals(needed(12.2), []);
  assertEquals(needed(12.4), [2]);
  assertEquals(needed(16), [2, 3]);
  // Those that are more than half full stay.
  assertEquals(needed(160), [2, 3]);
});

Deno.test("sparseChunks + chunks that would become no smaller + they stay", () => {
  const manifest = { blockSize: BLOCK, chunkSize: 64 << 10 } as Manifest;
  const one = (chunk: number) => ({ chunk, neededBytes: BLOCK, bytes: 2 * BLOCK });
  const chosen = (held: ReturnType<typeof one>[]) =>
    sparseChunks({
      ...{ held, manifest, storedBytes: held.length * 2 * BLOCK },
      neededBytes: held.length * BLOCK,
    }, ON_REQUEST).size;
  assertEquals([chosen([one(1)]), chosen([one(1), one(2), one(3)])], [0, 3]);
});
