import { assert, assertEquals, assertRejects } from "@std/assert";
import { eachSeed } from "../../tests/seeds.ts";
import { MemoryStore } from "../../store/memory.ts";
import { inFolder, type VolumeFolders } from "../../tests/volumes/folders.ts";
import { Dice } from "../../uapi/dice.ts";
import { UblkError } from "../../uapi/error.ts";
import { createSnapshot } from "../snapshots.ts";
import { exportImage } from "../transfer.ts";
import { Volume } from "../volume.ts";
import { type ChangedExtent, diffVolumes, exportChanges } from "./diff.ts";
import { importChanges } from "./import_changes.ts";

const BLOCK = 4096;
const BLOCKS = 1024;

async function change(dice: Dice, volume: Volume): Promise<void> {
  for (let nth = dice.draw(12); nth >= 0; nth--) {
    const block = dice.draw(BLOCKS);
    const length = Math.min(BLOCKS - block, 1 + dice.draw(60)) * BLOCK;
    if (dice.draw(3) === 0) await volume.trim(block * BLOCK, length);
    else {
      const data = new Uint8Array(length);
      for (let at = 0; at < length; at += BLOCK) data.fill(1 + dice.draw(255), at, at + BLOCK);
      await volume.write(data, block * BLOCK);
    }
  }
}

/** Folders, and a store in memory. */
type Places = Omit<VolumeFolders, "store"> & { readonly store: MemoryStore };

async function inPlaces(run: (at: Places) => Promise<void>): Promise<void> {
  await inFolder((at) => run({ ...at, store: new MemoryStore() }));
}

async function exported(at: Places, name: string, path: string): Promise<Uint8Array> {
  await using volume = await Volume.open(name, { store: at.store, readOnly: true });
  await exportImage(volume, path);
  return await Deno.readFile(path);
}

async function extentsOf(at: Places, from: string, to: string): Promise<ChangedExtent[]> {
  return await Array.fromAsync(diffVolumes(at.store, from, to));
}

function blockOf(image: Uint8Array, block: number): number {
  return image[block * BLOCK];
}

Deno.test("diffVolumes, exportChanges + every change between two snapshots, and nothing else", async (t) => {
  await eachSeed(t, 4, async (seed) => {
    const dice = new Dice(seed);
    await inPlaces(async (at) => {
      await Volume.create("v", { store: at.store, size: BLOCKS * BLOCK, chunkSize: "256K" });
      await using volume = await Volume.open("v", at);
      await change(dice, volume);
      await volume.sync();
      await createSnapshot(at.store, "v", "a");
      const image = `${at.folder}/image`;
      const before = await exported(at, "v@a", image);
      await change(dice, volume);
      await volume.sync();
      await createSnapshot(at.store, "v", "b");
      await change(dice, volume);
      await volume.sync();
      const now = await exported(at, "v@b", `${at.folder}/now`);
      const changed = new Set<number>();
      let end = 0;
      for (const { offset, length, hole } of await extentsOf(at, "v@a", "v@b")) {
        assert(offset >= end && length > 0);
        end = offset + length;
        for (let block = offset / BLOCK; block < end / BLOCK; block++) {
          changed.add(block);
          assertEquals(hole, blockOf(now, block) === 0);
        }
      }
      for (let block = 0; block < BLOCKS; block++) {
        const differs = blockOf(before, block) !== blockOf(now, block);
        if (differs) assert(changed.has(block), `block ${block} differs`);
      }
      const { copiedBytes, doneBytes } = await exportChanges(at.store, "v@a", "v@b", image);
      assertEquals(doneBytes, changed.size * BLOCK);
      assert(copiedBytes <= doneBytes);
      assertEquals((await Deno.readFile(image)).findIndex((byte, nth) => byte !== now[nth]), -1);
      // To the volume as its store has it.
      await exportChanges(at.store, "v@b", "v", image);
      const last = await exported(at, "v", `${at.folder}/now`);
      assertEquals((await Deno.readFile(image)).findIndex((byte, nth) => byte !== last[nth]), -1);
      assertEquals(await extentsOf(at, "v@b", "v@b"), []);
    });
  });
});

Deno.test("diffVolumes + blocks that were not touched are not told, whatever lies between", async () => {
  await inPlaces(async (at) => {
    await Volume.create("v", { store: at.store, size: BLOCKS * BLOCK });
    await using volume = await Volume.open("v", at);
    const fill = (from: number, count: number, byte: number) =>
      volume.write(new Uint8Array(count * BLOCK).fill(byte), from * BLOCK);
    await fill(0, 100, 1);
    await volume.sync();
    await createSnapshot(at.store, "v", "a");
    await fill(10, 5, 2);
    await volume.trim(20 * BLOCK, 3 * BLOCK);
    // A trim of what is a hole is no change.
    await volume.trim(500 * BLOCK, 3 * BLOCK);
    await fill(200, 1, 3);
    await volume.sync();
    assertEquals(await extentsOf(at, "v@a", "v"), [
      { offset: 10 * BLOCK, length: 5 * BLOCK, hole: false },
      { offset: 20 * BLOCK, length: 3 * BLOCK, hole: true },
      { offset: 200 * BLOCK, length: BLOCK, hole: false },
    ]);
    for (const [from, to] of [["v", "v"], ["v@a", "w"], ["w@a", "v"], ["v@a", "v@b"]]) {
      const error = await assertRejects(() => extentsOf(at, from, to), UblkError);
      const isMissing = to === "v@b";
      assertEquals(error.code, isMissing ? "VOLUME_NOT_FOUND" : "INVALID_ARGUMENT");
    }
    await Deno.writeFile(`${at.folder}/other`, new Uint8Array(BLOCK));
    const other = await assertRejects(
      () => exportChanges(at.store, "v@a", "v", `${at.folder}/other`),
      UblkError,
    );
    assertEquals(other.code, "INVALID_ARGUMENT");
  });
});

Deno.test("importChanges + only blocks that differ are written", async () => {
  await inPlaces(async (at) => {
    await Volume.create("v", { store: at.store, size: BLOCKS * BLOCK });
    const image = new Uint8Array(600 * BLOCK + 100);
    for (let block = 0; block < 601; block++) {
      image.fill(block % 5, block * BLOCK, (block + 1) * BLOCK);
    }
    const path = `${at.folder}/image`;
    await Deno.writeFile(path, image);
    await using volume = await Volume.open("v", at);
    await importChanges(path, volume);
    await volume.sync();
    await createSnapshot(at.store, "v", "a");
    const same = await importChanges(path, volume);
    assertEquals([same.copiedBytes, same.doneBytes], [0, image.length]);
    image.fill(9, 300 * BLOCK, 302 * BLOCK);
    image.fill(0, 303 * BLOCK, 304 * BLOCK);
    image[image.length - 1] = 7;
    await Deno.writeFile(path, image);
    assertEquals((await importChanges(path, volume)).copiedBytes, 4 * BLOCK);
    await volume.sync();
    assertEquals(await extentsOf(at, "v@a", "v"), [
      { offset: 300 * BLOCK, length: 2 * BLOCK, hole: false },
      { offset: 303 * BLOCK, length: BLOCK, hole: true },
      { offset: 600 * BLOCK, length: BLOCK, hole: false },
    ]);
    const now = await exported(at, "v", `${at.folder}/now`);
    assertEquals(image.findIndex((byte, nth) => byte !== now[nth]), -1);
  });
});
