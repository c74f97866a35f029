import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { eachSeed } from "../../tests/seeds.ts";
import { inFolder } from "../../tests/volumes/folders.ts";
import { aged, BLOCK, BLOCKS, contentsOf, FragileStore, NAME } from "../../tests/volumes/aged.ts";
import { Dice } from "../../uapi/dice.ts";
import { UblkError } from "../../uapi/error.ts";
import { changeCatalog } from "../catalog.ts";
import { checkVolume } from "../check.ts";
import { readHead, readManifest } from "../state.ts";
import { Fields, sealRecord } from "../format/record.ts";
import { removeVolume } from "../list.ts";
import { ObjectNames } from "../names.ts";
import { MACHINE } from "../seam.ts";
import { resizeVolume } from "../resize.ts";
import { createSnapshot } from "../snapshots.ts";
import { collectGarbage } from "../space/collect.ts";
import { collectVolume } from "../space/collect_volume.ts";
import { Volume } from "../volume.ts";
import { repairVolume } from "./repair.ts";

const NAMES = new ObjectNames(NAME);

async function headOf(store: FragileStore) {
  const { head } = (await readHead(store, NAMES))!;
  return { head, manifest: await readManifest(store, NAMES, head) };
}

/** Deletes an object, or flips a bit of it. */
async function destroy(dice: Dice, store: FragileStore, name: string): Promise<void> {
  if (dice.draw(2) === 0) {
    await store.delete(name);
    return;
  }
  const { bytes } = (await store.get(name))!;
  await store.flip(name, dice.draw(bytes.length), 1 << dice.draw(8));
}

/** Damages some of what says where data is. @returns Whether the map cannot be read now. */
async function damage(dice: Dice, store: FragileStore): Promise<boolean> {
  const { head, manifest } = await headOf(store);
  let isBroken = false;
  const kind = dice.draw(6);
  if (kind <= 2) {
    const runs = manifest.runs.map(({ number }) => NAMES.run(number));
    const some = runs.filter((_, nth) => nth === 0 || dice.draw(3) === 0);
    for (const name of some) await destroy(dice, store, name);
    isBroken = some.length > 0;
  }
  if (kind === 1 || kind === 3) {
    await destroy(dice, store, NAMES.manifest(head.manifest));
    isBroken = true;
  }
  if (kind === 4) {
    for (const name of await store.names(NAMES.manifests)) await destroy(dice, store, name);
    isBroken = true;
  }
  if (kind === 5 || kind === 2) {
    await destroy(dice, store, NAMES.head);
    isBroken = true;
  }
  return isBroken;
}

Deno.test("repairVolume + head, manifests and runs that are destroyed come back from chunks", async (t) => {
  await eachSeed(t, 20, async (seed) => {
    const dice = new Dice(seed);
    await using store = new FragileStore();
    await aged(dice, store);
    const expected = await contentsOf(store);
    const { head } = await headOf(store);
    const isBroken = await damage(dice, store);
    const isNamed = await headOf(store).then(() => true, () => false);
    const size = BLOCKS * BLOCK;
    const { repaired, lostBytes, losses } = await repairVolume(store, NAME, { size });
    assertEquals([repaired, lostBytes], [isBroken, 0]);
    // Nothing is said to be lost that is not.
    if (isNamed) assertEquals(losses, []);
    assertEquals(await contentsOf(store), expected);
    assertEquals((await checkVolume(store, NAME)).findings, []);
    const now = await headOf(store);
    assert(!isBroken || now.head.epoch > head.epoch && now.head.manifest > head.manifest);
    assert(now.manifest.sequence === (await sequenceOf(store)));
  });
});

Deno.test("repairVolume + data of a missing or damaged chunk is said, and reads as EIO", async (t) => {
  await eachSeed(t, 6, async (seed) => {
    const dice = new Dice(seed);
    await using store = new FragileStore();
    await aged(dice, store);
    const expected = await contentsOf(store);
    const { manifest } = await headOf(store);
    const chunks = await store.names(NAMES.chunks);
    const chunk = chunks[dice.draw(chunks.length)];
    await store.delete(chunk);
    // The map itself is sound.
    assertEquals((await repairVolume(store, NAME)).repaired, false);
    await store.delete(NAMES.run(manifest.runs.at(-1)!.number));
    const report = await repairVolume(store, NAME);
    assert(report.repaired);
    const after = await contentsOf(store);
    const unread = after.filter((byte) => byte === -1).length;
    assertEquals(report.lostBytes, unread * BLOCK);
    if (unread > 0) assertMatch(report.losses.join("\n"), /is missing: .* lost or may be, blocks /);
    const wrong = after.filter((byte, at) => byte !== expected[at] && byte !== -1).length;
    // What only the missing chunk knew is said to be older.
    if (wrong > 0) assertMatch(report.losses.join("\n"), /have what they had before/);
  });
});

Deno.test("repairVolume + after a collection, only discarded blocks may be older, and it says so", async (t) => {
  await eachSeed(t, 6, async (seed) => {
    const dice = new Dice(seed);
    await using store = new FragileStore();
    await aged(dice, store);
    const { chunks } = await collectVolume(store, NAME);
    const expected = await contentsOf(store);
    for (const { number } of (await headOf(store)).manifest.runs) {
      await store.delete(NAMES.run(number));
    }
    const { repaired, losses } = await repairVolume(store, NAME);
    const found = await contentsOf(store);
    found.forEach((byte, block) => {
      if (byte !== expected[block]) assertEquals(expected[block], 0, `${block}, of ${chunks}`);
    });
    if (repaired) assertMatch(losses.join(), /garbage has been collected/);
  });
});

Deno.test("repairVolume + runs that are left say what was discarded, before and after a lost one", async () => {
  for (const lost of [0, 2]) {
    await inFolder(async (at) => {
      await using store = new FragileStore();
      await Volume.create(NAME, { store, size: BLOCKS * BLOCK, blockSize: BLOCK });
      {
        await using volume = await Volume.open(NAME, { ...at, store });
        const write = async (block: number, count: number, byte: number) => {
          await volume.write(new Uint8Array(count * BLOCK).fill(byte), block * BLOCK);
          await volume.sync();
        };
        await write(0, 10, 1);
        await volume.trim(0, BLOCK);
        await volume.sync();
        await write(20, 2, 3);
      }
      // The chunk goes that says what was discarded.
      const { head } = await headOf(store);
      const freed = await collectGarbage({ store, names: NAMES, base: head, seam: MACHINE });
      assertEquals(freed?.chunks, 1);
      const expected = await contentsOf(store);
      assertEquals([0, 1, 20].map((block) => expected[block]), [0, 1, 3]);
      const { runs } = (await headOf(store)).manifest;
      assertEquals(runs.length, 3);
      await store.delete(NAMES.run(runs[lost].number));
      assertEquals((await repairVolume(store, NAME)).repaired, true);
      assertEquals(await contentsOf(store), expected);
    });
  }
});

Deno.test("repairVolume + data that was moved from sparse chunks + is found where it is now", async () => {
  for (const lost of ["map", "manifest", "head and manifest"] as const) {
    await inFolder(async (at) => {
      await using store = new FragileStore();
      await Volume.create(NAME, { store, size: BLOCKS * BLOCK, blockSize: BLOCK });
      {
        await using volume = await Volume.open(NAME, { ...at, store });
        for (const byte of [1, 2, 3]) {
          for (let block = byte; block < 40; block += byte) {
            await volume.write(new Uint8Array(BLOCK).fill(byte), block * BLOCK);
          }
          await volume.sync();
        }
      }
      const before = (await headOf(store)).manifest.nextChunk;
      assert((await collectVolume(store, NAME)).chunks > 0);
      const { manifest, head } = await headOf(store);
      assert(manifest.nextChunk > before, "data was moved");
      const expected = await contentsOf(store);
      for (const { number } of manifest.runs) await store.delete(NAMES.run(number));
      if (lost !== "map") await store.delete(NAMES.manifest(head.manifest));
      if (lost === "head and manifest") await store.delete(NAMES.head);
      const report = await repairVolume(store, NAME, { size: BLOCKS * BLOCK });
      assertEquals([report.repaired, report.lostBytes], [true, 0], lost);
      assertEquals(await contentsOf(store), expected, lost);
    });
  }
});

Deno.test("repairVolume + a manifest that never counted is not taken for the last one", async () => {
  await inFolder(async (at) => {
    await using store = new FragileStore();
    await Volume.create(NAME, { store, size: BLOCKS * BLOCK, blockSize: BLOCK });
    const write = async (volume: Volume, block: number, byte: number) => {
      await volume.write(new Uint8Array(BLOCK).fill(byte), block * BLOCK);
      await volume.sync();
    };
    const dying = await Volume.open(NAME, { ...at, store, patienceMs: 1 });
    await write(dying, 0, 1);
    // Chunk, run and manifest are there, and the head never names them.
    store.breakAfter(3);
    const lost = write(dying, 1, 2).catch(() => {});
    await store.hasFailed;
    await dying.close().catch(() => {});
    await lost;
    store.left = Infinity;
    {
      const journal = `${at.journal}/other`;
      await using volume = await Volume.open(NAME, { ...at, store, journal, withoutJournal: true });
      await write(volume, 2, 3);
    }
    const expected = await contentsOf(store);
    assertEquals(expected.slice(0, 3), [1, 0, 3]);
    const { head } = await headOf(store);
    assertEquals((await store.names(NAMES.manifests)).length, 4);
    await store.delete(NAMES.manifest(head.manifest));
    const { repaired, losses } = await repairVolume(store, NAME);
    assertEquals([repaired, losses.length], [true, 1]);
    assertMatch(losses[0], /^manifest 4 is lost: manifest 2 counts, .* and 1 commits after it/);
    assertEquals(await contentsOf(store), expected);
  });
});

Deno.test("repairVolume + without a head, a commit counts if all its chunks are there", async () => {
  for (const [blocks, chunks] of [[300, 1], [300, 2], [300, 3], [1, 1]]) {
    await inFolder(async (at) => {
      await using store = new FragileStore();
      const shape = { size: BLOCKS * BLOCK, blockSize: BLOCK, chunkSize: "64K" };
      await Volume.create(NAME, { store, ...shape });
      const dying = await Volume.open(NAME, { ...at, store, patienceMs: 1 });
      await dying.write(new Uint8Array(BLOCK).fill(1), 0);
      await dying.sync();
      store.breakAfter(chunks);
      await dying.write(new Uint8Array(blocks * BLOCK).fill(2), 0);
      const lost = dying.sync().catch(() => {});
      await store.hasFailed;
      await dying.close().catch(() => {});
      await lost;
      store.left = Infinity;
      await store.delete(NAMES.head);
      const { losses } = await repairVolume(store, NAME);
      assertMatch(losses[0], /^v\/head is lost: what only a journal had/);
      const isWhole = blocks === 1 || chunks === 3;
      assertEquals((await contentsOf(store))[0], isWhole ? 2 : 1);
      // The same without any manifest.
      for (const name of await store.names(NAMES.manifests)) await store.delete(name);
      await store.delete(NAMES.head);
      const again = await repairVolume(store, NAME, { size: BLOCKS * BLOCK });
      assertEquals((await contentsOf(store))[0], isWhole ? 2 : 1);
      assertEquals(/does not count/.test(again.losses.join()), !isWhole);
    });
  }
});

Deno.test("repairVolume + a disk that was larger once, and one that has grown since", async () => {
  await inFolder(async (at) => {
    await using store = new FragileStore();
    await Volume.create(NAME, { store, size: 64 * BLOCK, blockSize: BLOCK });
    const write = async (block: number, byte: number) => {
      await using volume = await Volume.open(NAME, { ...at, store });
      if (byte === 0) await volume.trim(block * BLOCK, (64 - block) * BLOCK);
      else await volume.write(new Uint8Array(4 * BLOCK).fill(byte), block * BLOCK);
    };
    await write(60, 1);
    await write(32, 0);
    await resizeVolume(store, NAME, 32 * BLOCK);
    await write(0, 2);
    const { manifest } = await headOf(store);
    const shrunk = await contentsOf(store);
    for (const { number } of manifest.runs) await store.delete(NAMES.run(number));
    assertEquals((await repairVolume(store, NAME)).size, 32 * BLOCK);
    assertEquals(await contentsOf(store), shrunk);
    // The size that it had last goes with its manifests; data says what it had at least.
    await resizeVolume(store, NAME, 128 * BLOCK);
    await write(100, 3);
    const grown = await contentsOf(store);
    for (const name of (await store.names(NAMES.manifests)).slice(-2)) await store.delete(name);
    const { size, losses } = await repairVolume(store, NAME);
    assertEquals([size, losses.length], [104 * BLOCK, 1]);
    assertEquals(await contentsOf(store), grown.slice(0, 104));
    for (const name of await store.names(NAMES.manifests)) await store.delete(name);
    const small = await assertRejects(
      () => repairVolume(store, NAME, { size: 32 * BLOCK }),
      UblkError,
    );
    assertMatch(small.message, /its data needs 53248 bytes/);
    await repairVolume(store, NAME, { size: 128 * BLOCK });
    assertEquals(await contentsOf(store), grown);
  });
});

Deno.test("repairVolume + snapshots stay, also when garbage is collected afterwards", async () => {
  await inFolder(async (at) => {
    await using store = new FragileStore();
    await aged(new Dice(5), store);
    await createSnapshot(store, NAME, "a");
    const first = await contentsOf(store, `${NAME}@a`);
    {
      await using volume = await Volume.open(NAME, { ...at, store });
      await volume.write(new Uint8Array(200 * BLOCK).fill(77), 0);
    }
    const expected = await contentsOf(store);
    const { head } = await headOf(store);
    for (const name of [NAMES.head, NAMES.manifest(head.manifest)]) await store.delete(name);
    assertEquals((await repairVolume(store, NAME)).repaired, true);
    assertEquals(await contentsOf(store), expected);
    await collectVolume(store, NAME);
    assertEquals(await contentsOf(store), expected);
    assertEquals(await contentsOf(store, `${NAME}@a`), first);
    assertEquals((await checkVolume(store, NAME)).findings, []);
  });
});

Deno.test("repairVolume + what a rollback took back may come back, and it says so", async () => {
  await using store = new FragileStore();
  await aged(new Dice(1), store);
  const { head, manifest } = await headOf(store);
  const place = { store, names: NAMES, volume: head.volume, seam: MACHINE };
  await changeCatalog(place, (catalog) => ({ ...catalog, least: head.manifest }));
  await store.delete(NAMES.run(manifest.runs[0].number));
  const { losses } = await repairVolume(store, NAME);
  assertMatch(losses.join(), /it was rolled back/);
  // Older manifests do not count.
  await store.delete(NAMES.head);
  for (const name of (await store.names(NAMES.manifests)).slice(-2)) await store.delete(name);
  const unknown = await assertRejects(() => repairVolume(store, NAME), UblkError);
  assertEquals(unknown.code, "INVALID_ARGUMENT");
});

Deno.test("repairVolume + attached volumes, unknown sizes and what is not there are refused", async () => {
  await using store = new FragileStore();
  await aged(new Dice(1), store);
  const none = await assertRejects(() => repairVolume(store, "w"), UblkError);
  assertEquals(none.code, "VOLUME_NOT_FOUND");
  assertEquals((await repairVolume(store, NAME)).repaired, false);
  const expected = await contentsOf(store);
  const copy = new FragileStore();
  for (const name of await store.names()) {
    if (!name.startsWith(NAMES.manifests)) {
      await copy.putIfAbsent(name, (await store.get(name))!.bytes);
    }
  }
  const unknown = await assertRejects(() => repairVolume(copy, NAME), UblkError);
  assertEquals(unknown.code, "INVALID_ARGUMENT");
  // What is beyond a size that is too small would be lost.
  const small = await assertRejects(() => repairVolume(copy, NAME, { size: BLOCK }), UblkError);
  assertEquals(small.code, "INVALID_ARGUMENT");
  assertEquals(await copy.names(NAMES.manifests), []);
  await repairVolume(copy, NAME, { size: BLOCKS * BLOCK });
  assertEquals(await contentsOf(copy), expected);
  // A head of a newer format is not damaged.
  const { bytes, version } = (await store.get(NAMES.head))!;
  const fields = new Fields(bytes);
  fields.setU32(8, 2);
  sealRecord(fields);
  await store.replace(NAMES.head, bytes, version);
  const newer = await assertRejects(() => repairVolume(store, NAME), UblkError);
  assertMatch(newer.message, /of a newer format/);
  await removeVolume(copy, NAME);
  const removed = await assertRejects(() => repairVolume(copy, NAME), UblkError);
  assertEquals(removed.code, "VOLUME_NOT_FOUND");
});

Deno.test("repairVolume + by force, a journal goes on, and its server is cut off", async () => {
  await inFolder(async (at) => {
    await using store = new FragileStore();
    const create = { store, size: BLOCKS * BLOCK, blockSize: BLOCK };
    await Volume.create(NAME, create);
    const volume = await Volume.open(NAME, { ...at, store });
    await volume.write(new Uint8Array(BLOCK).fill(1), 0);
    await volume.sync();
    await volume.write(new Uint8Array(BLOCK).fill(2), BLOCK);
    await volume.flush();
    await store.delete(NAMES.run((await headOf(store)).manifest.runs[0].number));
    const busy = await assertRejects(() => repairVolume(store, NAME), UblkError);
    assertEquals(busy.code, "VOLUME_BUSY");
    assertEquals((await repairVolume(store, NAME, { force: true })).losses, []);
    await assertRejects(() => volume.close(), UblkError);
    await using again = await Volume.open(NAME, { ...at, store });
    const data = new Uint8Array(2 * BLOCK);
    await again.read(data, 0);
    assertEquals([data[0], data[BLOCK]], [1, 2]);
  });
});

/** The last batch that a chunk of the newest epoch has. */
async function sequenceOf(store: FragileStore): Promise<number> {
  let [epoch, last] = [0, 0];
  for (const name of await store.names(NAMES.chunks)) {
    const { bytes } = (await store.get(name))!;
    const view = new DataView(bytes.buffer);
    const found = [Number(view.getBigUint64(40, true)), Number(view.getBigUint64(56, true))];
    if (found[0] > epoch || found[0] === epoch && found[1] > last) [epoch, last] = found;
  }
  return last;
}

Deno.test("repairVolume + numbers of objects that were collected + are not given again", async () => {
  await inFolder(async ({ journal, journalSize }) => {
    await using store = new FragileStore();
    const size = BLOCKS * BLOCK;
    await Volume.create(NAME, { store, size, blockSize: BLOCK });
    {
      await using volume = await Volume.open(NAME, { store, journal, journalSize });
      for (const block of [0, 1]) {
        await volume.write(new Uint8Array(BLOCK).fill(1 + block), block * BLOCK);
        await volume.sync();
      }
      await volume.trim(BLOCK, BLOCK);
    }
    await collectVolume(store, NAME);
    const { manifest } = await headOf(store);
    for (const name of await store.names(NAMES.manifests)) await store.delete(name);
    await store.delete(NAMES.head);
    await repairVolume(store, NAME, { size });
    const { manifest: now } = await headOf(store);
    // A cache may still have what was under these names, and a collection may be deleting it.
    assert(now.nextChunk >= manifest.nextChunk, `${now.nextChunk} and ${manifest.nextChunk}`);
    assert(now.nextRun > manifest.nextRun, `${now.nextRun} and ${manifest.nextRun}`);
    assert(now.number > manifest.number, `${now.number} and ${manifest.number}`);
  });
});
