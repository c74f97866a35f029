import { assert, assertEquals, assertRejects } from "@std/assert";
import { MemoryStore } from "../store/memory.ts";
import { openStore } from "../store/open.ts";
import type { Store } from "../store/store.ts";
import { inFolder, type VolumeFolders } from "../tests/volumes/folders.ts";
import { UblkError } from "../uapi/error.ts";
import { diffVolumes } from "./care/diff.ts";
import { copyVolume } from "./care/copy.ts";
import { catalogOf } from "./catalog.ts";
import { checkVolume } from "./check.ts";
import { cloneVolume } from "./clone.ts";
import { stateOf } from "./state.ts";
import { flattenVolume } from "./flatten.ts";
import { listVolumes, removeVolume, volumeInfo } from "./list.ts";
import { ObjectNames } from "./names.ts";
import { rollbackVolume } from "./rollback.ts";
import { MACHINE, type Seam } from "./seam.ts";
import { createSnapshot, removeSnapshot } from "./snapshots.ts";
import { MAKING_MS } from "./space/clones.ts";
import { collectVolume } from "./space/collect_volume.ts";
import { Volume } from "./volume.ts";

const BLOCK = 4096;
const BLOCKS = 32;

async function codeOf(call: () => Promise<unknown>): Promise<string> {
  return (await assertRejects(call, UblkError)).code;
}

type Places = Omit<VolumeFolders, "store"> & { readonly store: Store | string };

async function write(at: Places, name: string, byte: number, block: number, blocks = 1) {
  await using volume = await Volume.open(name, at);
  await volume.write(new Uint8Array(blocks * BLOCK).fill(byte), block * BLOCK);
}

/** The first byte of the first blocks. */
async function bytesOf(store: Store | string, name: string, blocks = 4): Promise<number[]> {
  await using volume = await Volume.open(name, { store, readOnly: true });
  const found = new Uint8Array(blocks * BLOCK);
  await volume.read(found, 0);
  return Array.from({ length: blocks }, (_, nth) => found[nth * BLOCK]);
}

/** A volume whose first blocks have a byte. */
async function filled(at: Places, byte = 1): Promise<void> {
  await Volume.create("v", { store: at.store, size: BLOCKS * BLOCK });
  await write(at, "v", byte, 0, 4);
}

async function objectsOf(store: string, folder: string): Promise<string[]> {
  await using opened = await openStore(store);
  const found = [];
  for await (const { name } of opened.list(`${folder}/`)) found.push(name);
  return found.sort();
}

async function assertSound(store: string, ...names: string[]): Promise<void> {
  for (const name of names) {
    assertEquals((await checkVolume(store, name)).findings, [], name);
  }
}

Deno.test("cloneVolume + it has what its source had; each goes its own way", async () => {
  await inFolder(async (at) => {
    await filled(at);
    await createSnapshot(at.store, "v", "s");
    await write(at, "v", 2, 1);
    await cloneVolume(at.store, "v@s", "then");
    await cloneVolume(at.store, "v", "now", { size: 2 * BLOCKS * BLOCK });
    assertEquals(await listVolumes(at.store), ["now", "then", "v"]);
    assertEquals(await bytesOf(at.store, "then"), [1, 1, 1, 1]);
    await removeSnapshot(at.store, "v", "s");
    await write(at, "then", 3, 2);
    await write(at, "v", 4, 0, 4);
    await write(at, "now", 5, 2 * BLOCKS - 1);
    for (const name of ["v", "now", "then", "v"]) await collectVolume(at.store, name);
    assertEquals(await bytesOf(at.store, "v"), [4, 4, 4, 4]);
    assertEquals(await bytesOf(at.store, "now"), [1, 2, 1, 1]);
    assertEquals((await bytesOf(at.store, "now", 2 * BLOCKS)).slice(-2), [0, 5]);
    assertEquals(await bytesOf(at.store, "then"), [1, 1, 3, 1]);
    await assertSound(at.store, "v", "now", "then");
    const { parent, sharedBytes, mappedBytes } = await volumeInfo(at.store, "then");
    assertEquals([parent, sharedBytes, mappedBytes], ["v", 3 * BLOCK, 4 * BLOCK]);
    assertEquals((await volumeInfo(at.store, "v")).clones, ["now", "then"]);
  });
});

Deno.test("cloneVolume + what is not possible is refused, and leaves nothing", async () => {
  await inFolder(async (at) => {
    await filled(at);
    const clone = (from: string, to: string, size?: number) =>
      codeOf(() => cloneVolume(at.store, from, to, { size }));
    assertEquals(await clone("v", "c", (BLOCKS - 1) * BLOCK), "INVALID_ARGUMENT");
    assertEquals(await clone("v", "c", BLOCKS * BLOCK + 1), "INVALID_ARGUMENT");
    assertEquals(await clone("v@no", "c"), "VOLUME_NOT_FOUND");
    assertEquals(await clone("no", "c"), "VOLUME_NOT_FOUND");
    assertEquals(await clone("v", "v"), "VOLUME_EXISTS");
    assertEquals(await clone("v", "a/b"), "INVALID_ARGUMENT");
    assertEquals(await objectsOf(at.store, "c"), []);
    assertEquals((await volumeInfo(at.store, "v")).clones, []);
  });
});

Deno.test("cloneVolume + with the journal it has what was answered before", async () => {
  await inFolder(async (at) => {
    await filled(at);
    await using volume = await Volume.open("v", at);
    await volume.write(new Uint8Array(BLOCK).fill(9), 0);
    await cloneVolume(at.store, "v", "c", { journal: at.journal });
    assertEquals(await bytesOf(at.store, "c"), [9, 1, 1, 1]);
  });
});

Deno.test("a clone's objects + one GET finds a chunk, however deep the ancestry is", async () => {
  await inFolder(async (at) => {
    const store = new MemoryStore();
    await Volume.create("c0", { store, size: BLOCKS * BLOCK });
    for (let depth = 0; depth < 6; depth++) {
      await write({ ...at, store }, `c${depth}`, depth + 1, depth);
      await cloneVolume(store, `c${depth}`, `c${depth + 1}`);
    }
    const gets: string[] = [];
    const get = store.get.bind(store);
    store.get = (name, ...rest) => {
      if (name.includes("/chunks/")) gets.push(name);
      return get(name, ...rest);
    };
    assertEquals(await bytesOf(store, "c6", 7), [1, 2, 3, 4, 5, 6, 0]);
    // A table and a line of data for each chunk: what a volume without ancestors costs too.
    const wanted = [0, 1, 2, 3, 4, 5].flatMap((depth) => [depth, depth]);
    assertEquals(gets.map((name) => Number(name[1])).sort(), wanted);
    const { manifest } = await stateOf(store, new ObjectNames("c6"));
    assertEquals(manifest.ancestors.map(({ name }) => name), ["c0", "c1", "c2", "c3", "c4", "c5"]);
  });
});

Deno.test("removeVolume + in any order: clones keep what they need, and the last one lets it go", async () => {
  for (const order of [["v", "a", "b"], ["a", "v", "b"], ["b", "a", "v"], ["v", "b", "a"]]) {
    await inFolder(async (at) => {
      await filled(at);
      await cloneVolume(at.store, "v", "a");
      await write(at, "a", 2, 1);
      await cloneVolume(at.store, "a", "b");
      await write(at, "b", 3, 2);
      const there = new Set(["v", "a", "b"]);
      const contents: Record<string, number[]> = {
        ...{ v: [1, 1, 1, 1], a: [1, 2, 1, 1], b: [1, 2, 3, 1] },
      };
      for (const name of order) {
        await removeVolume(at.store, name, { journal: at.journal });
        there.delete(name);
        assertEquals(await listVolumes(at.store), [...there].sort());
        for (const left of there) {
          await collectVolume(at.store, left);
          assertEquals(await bytesOf(at.store, left), contents[left], `${order}: ${left}`);
        }
        await assertSound(at.store, ...there);
      }
      for (const name of ["v", "a", "b"]) {
        assertEquals(await objectsOf(at.store, name), [`${name}/catalog`], `${order}`);
        await Volume.create(name, { store: at.store, size: BLOCKS * BLOCK });
      }
    });
  }
});

Deno.test("removeVolume + the name is free once no clone needs its data any more", async () => {
  await inFolder(async (at) => {
    await filled(at);
    await cloneVolume(at.store, "v", "c");
    await removeVolume(at.store, "v");
    const create = () => Volume.create("v", { store: at.store, size: BLOCKS * BLOCK });
    const error = await assertRejects(create, UblkError);
    assertEquals(error.code, "VOLUME_EXISTS");
    assert(error.message.includes("clones still need its data: c"), error.message);
    assertEquals(await codeOf(() => cloneVolume(at.store, "c", "v")), "VOLUME_EXISTS");
    // Again it changes nothing.
    await removeVolume(at.store, "v");
    assertEquals(await bytesOf(at.store, "c"), [1, 1, 1, 1]);
    await flattenVolume(at.store, "c");
    assertEquals(await objectsOf(at.store, "v"), ["v/catalog"]);
    await create();
    assertEquals(await bytesOf(at.store, "v"), [0, 0, 0, 0]);
    assertEquals(await bytesOf(at.store, "c"), [1, 1, 1, 1]);
  });
});

Deno.test("createVolume + a volume has lost its head, and has clones + nobody takes its name", async () => {
  await inFolder(async (at) => {
    await filled(at);
    await cloneVolume(at.store, "v", "c");
    await Deno.remove(`${at.store}/v/head`);
    const create = () => Volume.create("v", { store: at.store, size: BLOCKS * BLOCK });
    assertEquals(await codeOf(create), "VOLUME_EXISTS");
    assertEquals(await bytesOf(at.store, "c"), [1, 1, 1, 1]);
  });
});

Deno.test("flattenVolume + it shares nothing then, and its sources let go of it", async () => {
  await inFolder(async (at) => {
    await filled(at);
    await write(at, "v", 2, 3, 20);
    await cloneVolume(at.store, "v", "a");
    await write(at, "a", 3, 1);
    await cloneVolume(at.store, "a", "b");
    await write(at, "b", 4, 2);
    const before = await bytesOf(at.store, "b", BLOCKS);
    const done: number[] = [];
    const { copiedBytes, sharing } = await flattenVolume(at.store, "b", {
      portionBytes: BLOCK,
      onProgress: ({ doneBytes }) => done.push(doneBytes),
    });
    assertEquals([copiedBytes, sharing], [22 * BLOCK, []]);
    assert(done.length > 1 && done.at(-1) === 22 * BLOCK);
    assertEquals(await bytesOf(at.store, "b", BLOCKS), before);
    const { parent, sharedBytes } = await volumeInfo(at.store, "b");
    assertEquals([parent, sharedBytes], [undefined, 0]);
    assertEquals((await volumeInfo(at.store, "a")).clones, []);
    assertEquals((await flattenVolume(at.store, "b")).copiedBytes, 0);
    await removeVolume(at.store, "a");
    await removeVolume(at.store, "v");
    await write(at, "b", 5, 0);
    assertEquals((await bytesOf(at.store, "b", BLOCKS)).slice(1), before.slice(1));
    await assertSound(at.store, "b");
  });
});

Deno.test("flattenVolume + a snapshot that shares data keeps it, and may be gone back to", async () => {
  await inFolder(async (at) => {
    await filled(at);
    await cloneVolume(at.store, "v", "c");
    await createSnapshot(at.store, "c", "s");
    await write(at, "c", 2, 0, 4);
    assertEquals((await flattenVolume(at.store, "c")).sharing, ["s"]);
    await write(at, "v", 3, 0, 4);
    await collectVolume(at.store, "v");
    await rollbackVolume(at.store, "c", "s");
    assertEquals(await bytesOf(at.store, "c"), [1, 1, 1, 1]);
    await removeSnapshot(at.store, "c", "s");
    await collectVolume(at.store, "c");
    await collectVolume(at.store, "v");
    assertEquals(await bytesOf(at.store, "c"), [1, 1, 1, 1]);
    await flattenVolume(at.store, "c");
    assertEquals((await volumeInfo(at.store, "v")).clones, []);
    assertEquals((await collectVolume(at.store, "v")).chunks, 1);
    assertEquals(await bytesOf(at.store, "c"), [1, 1, 1, 1]);
    await assertSound(at.store, "c", "v");
  });
});

Deno.test("a clone + its copy, its changes and its cache are right", async () => {
  await inFolder(async (at) => {
    await filled(at);
    await cloneVolume(at.store, "v", "c");
    await createSnapshot(at.store, "c", "s");
    await write(at, "c", 2, 1, 2);
    const found = [];
    for await (const extent of diffVolumes(at.store, "c@s", "c")) found.push(extent);
    assertEquals(found, [{ offset: BLOCK, length: 2 * BLOCK, hole: false }]);
    const other = `${at.folder}/other`;
    await copyVolume(at.store, "c", other, { as: "d" });
    await cloneVolume(other, "d", "e");
    await write({ ...at, store: other }, "e", 3, 3);
    await removeVolume(other, "d");
    assertEquals(await bytesOf(other, "e"), [1, 2, 2, 3]);
    await assertSound(other, "e");
    await flattenVolume(other, "e");
    assertEquals(await bytesOf(other, "e"), [1, 2, 2, 3]);
    assertEquals(await objectsOf(other, "d"), ["d/catalog"]);
    for (let round = 0; round < 2; round++) {
      await using cached = await Volume.open("c", { ...at, cache: "8M" });
      const data = new Uint8Array(4 * BLOCK);
      await cached.read(data, 0);
      assertEquals([0, 1, 2, 3].map((nth) => data[nth * BLOCK]), [1, 2, 2, 1]);
    }
  });
});

Deno.test("a clone that never came to be + its name can be used, and its source lets go of it", async () => {
  await inFolder(async (at) => {
    const store = new MemoryStore();
    await filled({ ...at, store });
    let now = Date.UTC(2030);
    const seam: Seam = { ...MACHINE, now: () => now };
    const lastStep = Promise.withResolvers<() => Promise<unknown>>();
    const replace = store.replace.bind(store);
    // Its maker stands still before the last step.
    store.replace = (...call) => {
      if (call[0] !== "c/head") return replace(...call);
      store.replace = replace;
      lastStep.resolve(() => replace(...call));
      return new Promise(() => {});
    };
    void cloneVolume(store, "v", "c", { seam });
    const finish = await lastStep.promise;
    assertEquals(await listVolumes(store), ["v"]);
    const { volume } = (await stateOf(store, new ObjectNames("v"))).head;
    const clones = async () =>
      (await catalogOf(store, new ObjectNames("v"), volume)).entries.length;
    assertEquals(await codeOf(() => checkVolume(store, "c")), "VOLUME_NOT_FOUND");
    now += MAKING_MS - 1;
    await collectVolume(store, "v", { seam });
    assertEquals(await clones(), 1);
    now += 2;
    await collectVolume(store, "v", { seam });
    assertEquals(await clones(), 0);
    // He wakes up too late.
    assertEquals(await finish(), undefined);
    await cloneVolume(store, "v", "c", { seam });
    assertEquals(await bytesOf(store, "c"), [1, 1, 1, 1]);
    assertEquals(await clones(), 1);
  });
});
