import { assert, assertEquals, assertRejects } from "@std/assert";
import { eachSeed } from "../tests/seeds.ts";
import { inFolder, type VolumeFolders } from "../tests/volumes/folders.ts";
import { FaultyStore } from "../store/faulty.ts";
import { MemoryStore } from "../store/memory.ts";
import { openStore } from "../store/open.ts";
import type { Store } from "../store/store.ts";
import { Dice } from "../uapi/dice.ts";
import { UblkError } from "../uapi/error.ts";
import { checkVolume } from "./check.ts";
import { loadMaps } from "./attach.ts";
import { chunkOf } from "./format/place.ts";
import { ObjectNames } from "./names.ts";
import { rollbackVolume } from "./rollback.ts";
import { MACHINE } from "./seam.ts";
import { createSnapshot, removeSnapshot, stateOfReference } from "./snapshots.ts";
import { collectVolume } from "./space/collect_volume.ts";
import { Volume } from "./volume.ts";

const BLOCK = 4096;

/** A volume with several chunks, runs, holes and overwritten blocks. */
async function written(at: VolumeFolders): Promise<void> {
  await Volume.create("v", { store: at.store, size: "4M", chunkSize: "256K" });
  await using volume = await Volume.open("v", at);
  for (let round = 1; round <= 3; round++) {
    for (let nth = 0; nth < 100; nth++) {
      const data = new Uint8Array(BLOCK).fill(round);
      await volume.write(data, nth * round * 3 % 1024 * BLOCK);
    }
    await volume.trim(round * 64 * BLOCK, 16 * BLOCK);
    await volume.sync();
  }
}

async function namesOf(url: string): Promise<string[]> {
  await using store = await openStore(url);
  const names = [];
  for await (const { name } of store.list("v/")) names.push(name);
  return names.sort();
}

Deno.test("checkVolume + a sound volume has no findings, and everything was read", async () => {
  await inFolder(async (at) => {
    await written(at);
    const steps: number[] = [];
    const report = await checkVolume(at.store, "v", {
      journal: at.journal,
      onProgress: (done, total) => steps.push(done / total),
    });
    assertEquals([report.findings, report.isComplete, report.batches], [[], true, undefined]);
    assert(report.objects >= 2 + 3 + 4 && report.blocks > 200);
    assertEquals(steps.at(-1), 1);
    // Manifests of older states stay for a while.
    assert(report.unnamed >= 3 && report.unnamedBytes > 0);
    assertEquals(report.objects + report.unnamed, (await namesOf(at.store)).length);
  });
});

Deno.test("checkVolume + a flipped bit of any object that counts is found", async (t) => {
  await inFolder(async (at) => {
    await written(at);
    const names = await namesOf(at.store);
    const counted = new Set<string>();
    await eachSeed(t, 60, async (seed) => {
      const dice = new Dice(seed);
      const name = names[dice.draw(names.length)];
      const path = `${at.store}/${name}`;
      const bytes = await Deno.readFile(path);
      const flipped = bytes.slice();
      // The front has the fields; the rest is data and sums.
      const byte = dice.draw(dice.draw(2) === 0 ? Math.min(128, bytes.length) : bytes.length);
      flipped[byte] ^= 1 << dice.draw(8);
      await Deno.writeFile(path, flipped);
      const { findings } = await checkVolume(at.store, "v");
      await Deno.writeFile(path, bytes);
      const { unnamed } = await checkVolume(at.store, "v");
      // Objects that nobody names may be as they like.
      if (findings.length === 0) {
        assert(unnamed > 0 && name.startsWith("v/manifests/"), `${name}, byte ${byte}`);
        return;
      }
      counted.add(name);
      assertEquals(findings.map(({ object }) => object), [name]);
      assert(!findings[0].words.includes("\n") && findings[0].words !== "");
      if (findings[0].words.startsWith("block")) {
        assertEquals(findings[0].offset, byte - byte % BLOCK);
      }
    });
    assert(counted.size >= 5);
  });
});

Deno.test("checkVolume + missing, short and exchanged objects are found", async () => {
  await inFolder(async (at) => {
    await written(at);
    const [first, second] = (await namesOf(at.store)).filter((name) => name.includes("/chunks/"));
    const run = (await namesOf(at.store)).find((name) => name.includes("/maps/"))!;
    const changes: [string, (bytes: Uint8Array) => Promise<Uint8Array | undefined>][] = [
      [first, () => Promise.resolve(undefined)],
      [first, (bytes) => Promise.resolve(bytes.subarray(0, bytes.length - 1))],
      [first, () => Deno.readFile(`${at.store}/${second}`)],
      [run, () => Promise.resolve(undefined)],
      [run, (bytes) => Promise.resolve(bytes.subarray(0, 20))],
    ];
    for (const [name, change] of changes) {
      const path = `${at.store}/${name}`;
      const bytes = await Deno.readFile(path);
      const changed = await change(bytes);
      if (changed === undefined) await Deno.remove(path);
      else await Deno.writeFile(path, changed);
      const { findings, isComplete } = await checkVolume(at.store, "v");
      assertEquals([findings.map(({ object }) => object), isComplete], [[name], name === first]);
      await Deno.writeFile(path, bytes);
    }
    assertEquals((await checkVolume(at.store, "v")).findings, []);
  });
});

/** A volume with snapshots that need older states. */
async function withSnapshots(at: VolumeFolders, store: Store): Promise<void> {
  await Volume.create("v", { store, size: "1M", chunkSize: "64K" });
  await using volume = await Volume.open("v", { ...at, store });
  for (const [nth, snapshot] of ["a", "b", ""].entries()) {
    await volume.write(new Uint8Array(64 * BLOCK).fill(nth + 1), 0);
    await volume.sync();
    if (snapshot !== "") await createSnapshot(store, "v", snapshot);
  }
}

// What a snapshot had needed was said to be missing, if it was removed and collected while it was checked.
Deno.test("checkVolume + a snapshot that is removed and collected meanwhile + is no damage", async () => {
  for (const kind of ["manifests", "maps", "chunks"]) {
    await inFolder(async (at) => {
      const inner = new MemoryStore();
      await withSnapshots(at, inner);
      let reads = 0;
      let isRemoved = false;
      const store = new FaultyStore(inner, {
        pause: async ({ name, object }, when) => {
          if (when === "after" || name !== "get" || !object.startsWith("v/")) return;
          if (object === "v/catalog") reads++;
          // The catalog was read for the entry of the check, and for the snapshots.
          if (isRemoved || reads < 2 || !object.includes(`/${kind}/`)) return;
          isRemoved = true;
          await removeSnapshot(inner, "v", "a");
          await collectVolume(inner, "v");
        },
      });
      const { findings, isComplete } = await checkVolume(store, "v");
      assertEquals([findings, isComplete, isRemoved], [[], true, true], kind);
    });
  }
});

Deno.test("checkVolume + what a removed snapshot had needed is missing, and another one needs it + is found", async () => {
  await inFolder(async (at) => {
    const inner = new MemoryStore();
    await withSnapshots(at, inner);
    const { manifest } = await stateOfReference(inner, { volume: "v", snapshot: "a" });
    await createSnapshot(inner, "v", "c");
    await rollbackVolume(inner, "v", "a");
    await createSnapshot(inner, "v", "d");
    await rollbackVolume(inner, "v", "c");
    const names = new ObjectNames("v");
    const { chunks: map } = await loadMaps({ store: inner, names, manifest });
    map.find(0, 1);
    const chunk = names.chunk(chunkOf(map.place));
    await inner.delete(chunk);
    let isRemoved = false;
    const store = new FaultyStore(inner, {
      pause: async ({ name, object }, when) => {
        if (when === "after" || name !== "get" || object !== chunk || isRemoved) return;
        isRemoved = true;
        await removeSnapshot(inner, "v", "a");
      },
    });
    const { findings } = await checkVolume(store, "v");
    assertEquals([findings, isRemoved], [[{ object: chunk, words: "it is missing" }], true]);
  });
});

Deno.test("checkVolume + a journal is read, and a flushed batch that is damaged is found", async () => {
  await inFolder(async (at) => {
    const store = new MemoryStore();
    await Volume.create("v", { store, size: "4M" });
    // On a clock that stands still, nothing is committed: all batches count.
    const seam = { ...MACHINE, clock: () => 0 };
    const volume = await Volume.open("v", { ...at, store, seam });
    for (let nth = 0; nth < 10; nth++) {
      await volume.write(new Uint8Array(BLOCK).fill(nth + 1), nth * BLOCK);
      await volume.flush();
    }
    const options = { journal: at.journal };
    const busy = await assertRejects(() => checkVolume(store, "v", options), UblkError);
    assertEquals(busy.code, "VOLUME_BUSY");
    // As a process leaves it that is killed.
    const copy = `${at.folder}/copy`;
    await Deno.mkdir(`${copy}/v`, { recursive: true });
    for await (const { name, isFile } of Deno.readDir(`${at.journal}/v`)) {
      if (isFile) await Deno.copyFile(`${at.journal}/v/${name}`, `${copy}/v/${name}`);
    }
    const sound = await checkVolume(store, "v", { journal: copy });
    assertEquals([sound.findings, sound.batches], [[], 10]);
    const path = `${copy}/v/journal-0000`;
    const bytes = await Deno.readFile(path);
    // In the data of the first batch.
    bytes[4096 + 4096 + 17] ^= 4;
    await Deno.writeFile(path, bytes);
    const { findings } = await checkVolume(store, "v", { journal: copy });
    assertEquals(findings.map(({ object }) => object), [`${copy}/v`]);
    await Deno.remove(copy, { recursive: true });
    const gone = await checkVolume(store, "v", { journal: copy });
    assertEquals(gone.findings.length, 1);
    await volume.close();
    const none = await assertRejects(() => checkVolume(store, "w"), UblkError);
    assertEquals(none.code, "VOLUME_NOT_FOUND");
  });
});
