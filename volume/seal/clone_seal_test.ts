/**
 * Clones of encrypted volumes: they share the data key and what is sealed with it, and no more.
 */

import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { FaultyStore } from "../../store/faulty.ts";
import { MemoryStore } from "../../store/memory.ts";
import type { Store } from "../../store/store.ts";
import { inFolder, type VolumeFolders } from "../../tests/volumes/folders.ts";
import { UblkError } from "../../uapi/error.ts";
import { copyVolume } from "../care/copy.ts";
import { diffVolumes } from "../care/diff.ts";
import { diffStream } from "../care/diff_stream.ts";
import { repairVolume } from "../care/repair.ts";
import { checkVolume } from "../check.ts";
import { cloneVolume } from "../clone.ts";
import { createVolume } from "../create.ts";
import { flattenVolume } from "../flatten.ts";
import { removeVolume, volumeInfo } from "../list.ts";
import { ObjectNames } from "../names.ts";
import { rollbackVolume } from "../rollback.ts";
import { MACHINE } from "../seam.ts";
import { createSnapshot } from "../snapshots.ts";
import { collectVolume } from "../space/collect_volume.ts";
import { exportImage } from "../transfer.ts";
import { Volume } from "../volume.ts";
import { openCipher, watchSeals } from "./gcm.ts";
import { keyOf } from "../opened_store.ts";
import { createKey, rekeyVolume, unlocked } from "./unlock.ts";

// It stays open for the life of the process, which is no leak of the test that seals first.
openCipher();

const BLOCK = 4096;
const BLOCKS = 8;
const KEY = new Uint8Array(32).fill(1);
const OTHER = new Uint8Array(32).fill(2);

type Places = Omit<VolumeFolders, "store"> & { readonly store: Store };

async function write(at: Places, name: string, byte: number, block: number, key = KEY) {
  await using volume = await Volume.open(name, { ...at, key });
  await volume.write(new Uint8Array(BLOCK).fill(byte), block * BLOCK);
}

/** The first byte of each block. */
async function bytesOf(store: Store, name: string, key = KEY): Promise<number[]> {
  await using volume = await Volume.open(name, { store, key, readOnly: true });
  const found = new Uint8Array(BLOCKS * BLOCK);
  await volume.read(found, 0);
  return Array.from({ length: BLOCKS }, (_, nth) => found[nth * BLOCK]);
}

async function codeOf(call: () => Promise<unknown>): Promise<string> {
  return (await assertRejects(call, UblkError)).code;
}

async function assertSound(store: Store, name: string, key = KEY): Promise<void> {
  const { findings } = await checkVolume(await unlocked(store, name, key), name);
  assertEquals(findings, [], name);
}

/** A volume with a snapshot, and a clone of that; both were written since. */
async function inFamily(work: (at: Places) => Promise<void>): Promise<void> {
  await inFolder(async ({ store: _, ...at }) => {
    const places = { ...at, store: new MemoryStore() };
    const { store } = places;
    await Volume.create("v", { store, size: BLOCKS * BLOCK, key: KEY });
    for (let block = 0; block < 4; block++) await write(places, "v", 1, block);
    await createSnapshot(store, "v", "s");
    await cloneVolume(store, "v@s", "c", { key: KEY });
    await write(places, "v", 2, 0);
    await write(places, "c", 3, 1);
    await work(places);
  });
}

const OF_V = [2, 1, 1, 1, 0, 0, 0, 0];
const OF_C = [1, 3, 1, 1, 0, 0, 0, 0];

Deno.test("a clone of an encrypted volume + each reads its own with its key, attached to nothing else", async () => {
  await inFamily(async (at) => {
    const { store } = at;
    const seen = new Set<string>();
    let seals = 0;
    watchSeals((key, count) => {
      seals++;
      seen.add(`${key.toHex()} ${count}`);
    });
    try {
      await write(at, "v", 2, 0);
      await write(at, "c", 3, 1);
    } finally {
      watchSeals(undefined);
    }
    assert(seals > 0);
    assertEquals(seen.size, seals, "a key has sealed two things with one count");
    assertEquals(await bytesOf(store, "v"), OF_V);
    assertEquals(await bytesOf(store, "c"), OF_C);
    for (const name of ["v", "c"]) {
      await assertSound(store, name);
      assertEquals(await codeOf(() => bytesOf(store, name, OTHER)), "VOLUME_KEY");
    }
    const info = await volumeInfo(store, "c");
    assertEquals([info.encrypted, info.parent], [true, "v"]);
    const keys = await Promise.all(["v", "c"].map((name) => unlocked(store, name, KEY)));
    const [ofV, ofC] = keys.map((one) => keyOf(one)!.use((bytes) => bytes.toHex()));
    assertEquals(ofV, ofC);
  });
});

Deno.test("a clone of an encrypted volume + without the key, or with the wrong one, is not made", async () => {
  await inFamily(async ({ store }) => {
    const before = await Array.fromAsync(store.list(""));
    assertEquals(await codeOf(() => cloneVolume(store, "v", "d")), "VOLUME_KEY");
    assertEquals(await codeOf(() => cloneVolume(store, "v", "d", { key: OTHER })), "VOLUME_KEY");
    assertEquals(await Array.fromAsync(store.list("")), before);
    await Volume.create("plain", { store, size: BLOCK });
    assertEquals(await codeOf(() => cloneVolume(store, "plain", "d", { key: KEY })), "VOLUME_KEY");
  });
});

Deno.test("a clone of an encrypted volume + another key for one is none for the other", async () => {
  await inFamily(async ({ store }) => {
    await rekeyVolume(store, "v", KEY, OTHER);
    assertEquals(await bytesOf(store, "v", OTHER), OF_V);
    assertEquals(await codeOf(() => bytesOf(store, "v")), "VOLUME_KEY");
    assertEquals(await bytesOf(store, "c"), OF_C);
    await collectVolume(await unlocked(store, "v", OTHER), "v");
    assertEquals(await bytesOf(store, "c"), OF_C);
    // A clone of the clone, with the clone's key.
    await cloneVolume(store, "c", "d", { key: KEY });
    assertEquals(await bytesOf(store, "d"), OF_C);
  });
});

Deno.test("a clone of an encrypted volume + is collected, rolled back, compared, copied, exported and repaired", async () => {
  await inFamily(async (at) => {
    const { store, folder } = at;
    const opened = await unlocked(store, "c", KEY);
    await createSnapshot(store, "c", "t");
    await write(at, "c", 4, 2);
    const changes = await Array.fromAsync(diffVolumes(opened, "c@t", "c"));
    assertEquals(changes.map(({ offset, length }) => [offset, length]), [[2 * BLOCK, BLOCK]]);
    const stream = await Array.fromAsync(diffStream(opened, "c@t", "c"));
    assert(stream.some((bytes) => bytes.includes(4)));
    await rollbackVolume(opened, "c", "t");
    await collectVolume(opened, "c");
    await collectVolume(await unlocked(store, "v", KEY), "v");
    assertEquals(await bytesOf(store, "c"), OF_C);
    {
      await using volume = await Volume.open("c", { store, key: KEY, readOnly: true });
      await exportImage(volume, `${folder}/c.img`);
    }
    const image = await Deno.readFile(`${folder}/c.img`);
    assertEquals([image[0], image[BLOCK]], [1, 3]);
    const target = new MemoryStore();
    await copyVolume(opened, "c", target);
    assertEquals(await bytesOf(target, "c"), OF_C);
    await assertSound(target, "c");
    await store.delete("c/head");
    assertEquals(await codeOf(() => repairVolume(store, "c")), "VOLUME_KEY");
    assert((await repairVolume(opened, "c")).repaired);
    assertEquals(await bytesOf(store, "c"), OF_C);
  });
});

Deno.test("flattenVolume + a clone of an encrypted volume then shares nothing but the data key", async () => {
  await inFamily(async ({ store }) => {
    assertEquals(await codeOf(() => flattenVolume(store, "c")), "VOLUME_KEY");
    await flattenVolume(await unlocked(store, "c", KEY), "c");
    await removeVolume(store, "v");
    assertEquals(await bytesOf(store, "c"), OF_C);
    await assertSound(store, "c");
    const left = await Array.fromAsync(store.list("v/"));
    assertEquals(left.map(({ name }) => name), ["v/catalog"]);
  });
});

Deno.test("removeVolume + an encrypted volume with clones needs its key, and the last one takes all along", async () => {
  await inFamily(async ({ store }) => {
    await cloneVolume(store, "v", "d", { key: KEY });
    const before = await bytesOf(store, "v");
    assertEquals(await codeOf(() => removeVolume(store, "v")), "VOLUME_KEY");
    assertEquals(await bytesOf(store, "v"), before);
    await removeVolume(await unlocked(store, "v", KEY), "v");
    assertEquals(await codeOf(() => unlocked(store, "v", OTHER)), "VOLUME_KEY");
    // Its name is taken, with or without a key.
    const shape = { size: BLOCK, blockSize: BLOCK, chunkSize: 1 << 16 };
    assertEquals(await codeOf(() => createVolume(store, "v", shape, MACHINE)), "VOLUME_EXISTS");
    // Without the key, what was only its is not told from the rest, and stays.
    await removeVolume(store, "d");
    // A volume of the name that never came to be has left its key, which opens nothing.
    using _ = keyOf(await createKey(store, new ObjectNames("v"), "0".repeat(31) + "1", KEY));
    const freed = await collectVolume(await unlocked(store, "v", KEY), "v");
    assertNotEquals(freed.objects, 0);
    assertEquals(await bytesOf(store, "c"), OF_C);
    await removeVolume(store, "c");
    await removeVolume(store, "v");
    const left = await Array.fromAsync(store.list(""));
    assertEquals(left.map(({ name }) => name).sort(), ["c/catalog", "d/catalog", "v/catalog"]);
  });
});

Deno.test("a clone of an encrypted volume + has its key before its head, and tries again", async () => {
  const store = new FaultyStore(new MemoryStore());
  await Volume.create("v", { store, size: BLOCK, key: KEY });
  for (const fault of ["unavailable", "lost answer", "late"] as const) {
    let calls = 0;
    store.faults = ({ name, object }) =>
      name === "put" && object.startsWith("c/keys/") && calls++ === 0 ? fault : undefined;
    await cloneVolume(store, "v", "c", { key: KEY });
    assert(calls > 1);
    store.faults = undefined;
    await store.arrive();
    await unlocked(store, "c", KEY);
    await removeVolume(store, "c");
  }
  // If it never gets there, there is no volume.
  store.faults = ({ object }) => object.startsWith("c/keys/") ? "full" : undefined;
  await assertRejects(() => cloneVolume(store, "v", "c", { key: KEY, patienceMs: 0 }));
  store.faults = undefined;
  assertEquals(await codeOf(() => volumeInfo(store, "c")), "VOLUME_NOT_FOUND");
});
