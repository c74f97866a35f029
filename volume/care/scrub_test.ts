/**
 * Scrubbing: damaged chunks are mended from journal and cache, and only from what is right.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { MemoryStore } from "../../store/memory.ts";
import { inFolder, type VolumeFolders } from "../../tests/volumes/folders.ts";
import { readHead } from "../state.ts";
import { CACHE_PAGE, decodeCacheHeader, encodeCacheHeader } from "../format/cache.ts";
import { isPackedChunk } from "../format/chunk.ts";
import type { Compression } from "../format/compression.ts";
import { ObjectNames } from "../names.ts";
import { openCipher } from "../seal/gcm.ts";
import { unlocked } from "../seal/unlock.ts";
import { Volume } from "../volume.ts";
import { checkVolume } from "../check.ts";
import { scrubVolume } from "./scrub.ts";

// It stays open for the life of the process, which is no leak of the test that seals first.
openCipher();

const BLOCK = 4096;
const BLOCKS = 64;
const NAMES = new ObjectNames("v");

/** Bytes of a block that tell which one it is. */
function contents(block: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(
    Uint32Array.from({ length: BLOCK / 4 }, (_, at) => block * 7919 + at).buffer,
  );
}

const KEY = new Uint8Array(32).fill(1);

/** A volume of a few chunks, which was read through a cache. */
async function made(
  { folder, journal, journalSize }: VolumeFolders,
  key?: Uint8Array<ArrayBuffer>,
  compress: Compression = "none",
): Promise<MemoryStore> {
  const store = new MemoryStore();
  await Volume.create("v", { store, size: BLOCKS * BLOCK, chunkSize: "64K", key, compress });
  const options = { store, journal, journalSize, key, cache: "8M", cacheDir: `${folder}/caches` };
  await using volume = await Volume.open("v", options);
  for (let block = 0; block < BLOCKS; block++) await volume.write(contents(block), block * BLOCK);
  await volume.sync();
  const read = new Uint8Array(BLOCK);
  for (let block = 0; block < BLOCKS; block++) await volume.read(read, block * BLOCK);
  return store;
}

async function chunksOf(store: MemoryStore): Promise<string[]> {
  const names = await Array.fromAsync(store.list(NAMES.chunks));
  return names.map(({ name }) => name).sort();
}

/** Flips a bit of an object. */
async function damage(store: MemoryStore, name: string, at: number): Promise<void> {
  const { bytes, version } = (await store.get(name))!;
  const flipped = bytes.slice();
  flipped[at] ^= 1;
  assert(await store.replace(name, flipped, version) !== undefined);
}

async function uuidOf(store: MemoryStore): Promise<string> {
  return (await readHead(store, NAMES))!.head.volume;
}

/** Damages the data, the table and all of a chunk. */
async function damageSome(store: MemoryStore): Promise<string[]> {
  const [first, second, third] = await chunksOf(store);
  await damage(store, first, (await store.get(first))!.size - 1);
  await damage(store, second, 40);
  await store.delete(third);
  return [first, second, third];
}

Deno.test("scrubVolume + chunks are mended from the cache, to the last bit", async () => {
  await inFolder(async (at) => {
    const store = await made(at);
    const before = await Promise.all((await chunksOf(store)).map((name) => store.get(name)));
    const damaged = await damageSome(store);
    const alone = await scrubVolume(store, "v");
    assertEquals([alone.mended, alone.findings.length], [[], 3]);
    const elsewhere = { journal: `${at.folder}/nowhere`, cacheDir: `${at.folder}/caches` };
    const { mended, findings } = await scrubVolume(store, "v", elsewhere);
    assertEquals([mended, findings], [damaged, []]);
    const after = await Promise.all((await chunksOf(store)).map((name) => store.get(name)));
    assertEquals(after.map((found) => found!.bytes), before.map((found) => found!.bytes));
    assertEquals((await checkVolume(store, "v")).findings, []);
  });
});

Deno.test("scrubVolume + data is mended from the journal, and a table is not", async () => {
  await inFolder(async (at) => {
    const store = await made(at);
    const [first, second, third] = await damageSome(store);
    const options = { journal: at.journal };
    const { mended, findings } = await scrubVolume(store, "v", options);
    assertEquals([mended, findings.map(({ object }) => object)], [[first], [second, third]]);
    // A journal that nobody can read has nothing to give.
    await damage(store, first, (await store.get(first))!.size - 1);
    Deno.writeTextFileSync(`${at.journal}/v/journal-id`, "no identity");
    assertEquals((await scrubVolume(store, "v", options)).mended, []);
  });
});

Deno.test("scrubVolume + an encrypted volume is mended from cache and journal, to the last bit", async () => {
  await inFolder(async (at) => {
    const store = await made(at, KEY);
    const opened = await unlocked(store, "v", KEY);
    const stored = async () =>
      await Promise.all(
        (await chunksOf(store)).map(async (name) => (await store.get(name))!.bytes),
      );
    const before = await stored();
    const damaged = await damageSome(store);
    const cacheDir = `${at.folder}/caches`;
    const fromJournal = await scrubVolume(opened, "v", { journal: at.journal });
    assertEquals(fromJournal.mended, damaged.slice(0, 1));
    const fromCache = await scrubVolume(opened, "v", { journal: at.journal, cacheDir });
    assertEquals([fromCache.mended, fromCache.findings], [damaged.slice(1), []]);
    assertEquals(await stored(), before);
    assertEquals((await checkVolume(opened, "v")).findings, []);
  });
});

Deno.test("scrubVolume + an attached volume is mended, and its server goes on", async () => {
  await inFolder(async (at) => {
    const store = await made(at);
    const cacheDir = `${at.folder}/caches`;
    const options = { store, journal: at.journal, journalSize: at.journalSize, cacheDir };
    await using volume = await Volume.open("v", { ...options, cache: "8M" });
    const [first] = await damageSome(store);
    const { mended } = await scrubVolume(store, "v", { journal: at.journal, cacheDir });
    assertEquals([mended[0], mended.length], [first, 3]);
    const read = new Uint8Array(BLOCK);
    for (let block = 0; block < BLOCKS; block++) {
      await volume.read(read, block * BLOCK);
      assertEquals(read, contents(block), `block ${block}`);
    }
  });
});

Deno.test("scrubVolume + a cache that is damaged too, or of another future + mends nothing wrong", async () => {
  await inFolder(async (at) => {
    const store = await made(at);
    await damageSome(store);
    const cacheDir = `${at.folder}/caches`;
    const path = `${cacheDir}/v/cache`;
    const bytes = Deno.readFileSync(path);
    const options = { journal: `${at.folder}/nowhere`, cacheDir };
    const { volume, ...header } = decodeCacheHeader(
      bytes.slice(0, CACHE_PAGE),
      await uuidOf(store),
    );
    const another = bytes.slice();
    another.set(encodeCacheHeader({ volume, ...header, epoch: header.epoch + 1 }));
    const files = [0, 8192].map((from) =>
      bytes.map((byte, nth) => nth < from ? byte : byte ^ 0x55)
    );
    for (const file of [...files, another]) {
      Deno.writeFileSync(path, file);
      const { mended, findings } = await scrubVolume(store, "v", options);
      assertEquals([mended, findings.length], [[], 3]);
    }
    Deno.writeFileSync(path, bytes);
    assertEquals((await scrubVolume(store, "v", options)).mended.length, 3);
  });
});

Deno.test("scrubVolume + a compressed volume is mended from cache and journal, to the last bit", async () => {
  for (const key of [undefined, KEY]) {
    await inFolder(async (at) => {
      const store = await made(at, key, "zstd");
      const opened = await unlocked(store, "v", key);
      const before = await Promise.all((await chunksOf(store)).map((name) => store.get(name)));
      assert(before.some((found) => isPackedChunk(found!.bytes)));
      const isMended = async () => {
        const after = await Promise.all((await chunksOf(store)).map((name) => store.get(name)));
        assertEquals(after.map((found) => found!.bytes), before.map((found) => found!.bytes));
      };
      const [first, second, third] = await damageSome(store);
      // From the journal, whole pieces; a table is not there.
      const { mended, findings } = await scrubVolume(opened, "v", { journal: at.journal });
      assertEquals(mended, [first]);
      assertEquals(new Set(findings.map(({ object }) => object)), new Set([second, third]));
      const cacheDir = `${at.folder}/caches`;
      const rest = await scrubVolume(opened, "v", { journal: `${at.folder}/nowhere`, cacheDir });
      assertEquals([rest.mended, rest.findings], [[second, third], []]);
      await isMended();
    });
  }
});
