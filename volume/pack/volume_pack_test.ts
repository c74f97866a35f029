/**
 * Volumes that compress, as programs use them: read in place, through a cache, and after repairs.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { DirectoryStore } from "../../store/directory.ts";
import { MemoryStore } from "../../store/memory.ts";
import type { Store } from "../../store/store.ts";
import { inFolder } from "../../tests/volumes/folders.ts";
import { UblkError } from "../../uapi/error.ts";
import { copyVolume } from "../care/copy.ts";
import { repairVolume } from "../care/repair.ts";
import { checkVolume } from "../check.ts";
import { areEqual } from "../state.ts";
import { cloneVolume } from "../clone.ts";
import { flattenVolume } from "../flatten.ts";
import { isPackedChunk, tableBytesOf } from "../format/chunk.ts";
import { volumeInfo } from "../list.ts";
import { numberOf, ObjectNames } from "../names.ts";
import { keyOf } from "../opened_store.ts";
import { openCipher } from "../seal/gcm.ts";
import { unlocked } from "../seal/unlock.ts";
import type { VolumeKey } from "../seal/volume_key.ts";
import { collectVolume } from "../space/collect_volume.ts";
import { Volume } from "../volume.ts";
import { decodeAnyTable } from "./any_table.ts";

openCipher();

const BLOCK = 4096;
const BLOCKS = 256;
const KEYS = [undefined, new Uint8Array(32).fill(3)];

/** A half of the blocks is random, by runs of 32. */
function contents(): Uint8Array<ArrayBuffer> {
  const data = new Uint8Array(BLOCKS * BLOCK);
  for (let block = 0; block < BLOCKS; block++) {
    const target = data.subarray(block * BLOCK, (block + 1) * BLOCK);
    if (block % 64 < 32) target.fill(block);
    else crypto.getRandomValues(target);
  }
  return data;
}

interface Place {
  readonly store: Store;
  readonly journal: string;
  readonly journalSize: string;
  readonly key: Uint8Array<ArrayBuffer> | undefined;
}

async function make(place: Place, data: Uint8Array<ArrayBuffer>): Promise<void> {
  const { store, key } = place;
  const size = { size: BLOCKS * BLOCK, chunkSize: "512K" };
  await Volume.create("v", { store, key, ...size, compress: "zstd" });
  await using volume = await Volume.open("v", place);
  await volume.write(data, 0);
  await volume.sync();
  const { chunkWrittenBytes: written, chunkPlainBytes: plain } = volume.stats();
  assert(plain! > data.length && written! < plain! * 0.6, `${written} of ${plain}`);
}

/** Reads all of a volume, in requests that begin and end within pieces. */
async function readAll(name: string, options: Omit<Place, "journalSize" | "journal">) {
  await using volume = await Volume.open(name, { ...options, readOnly: true });
  const found = new Uint8Array(BLOCKS * BLOCK);
  const reads: Promise<void>[] = [];
  for (let at = 0; at < BLOCKS; at += 5) {
    const part = found.subarray(at * BLOCK, Math.min(BLOCKS, at + 5) * BLOCK);
    reads.push(volume.read(part, at * BLOCK));
  }
  await Promise.all(reads);
  return found;
}

async function chunksOf(store: Store, name = "v") {
  const { chunks } = new ObjectNames(name);
  const names = await Array.fromAsync(store.list(chunks), ({ name }) => name);
  return await Promise.all(
    names.sort().map(async (name) => ({
      ...{ name, ...(await store.get(name))! },
    })),
  );
}

/** The chunk that has a block in a piece, and where that piece begins in it. */
function placeOf(
  block: number,
  chunks: Awaited<ReturnType<typeof chunksOf>>,
  volume: string,
  key: VolumeKey | undefined,
) {
  for (const chunk of chunks) {
    const { name, bytes } = chunk;
    const number = numberOf(name, new ObjectNames("v").chunks)!;
    const table = decodeAnyTable(bytes.slice(0, tableBytesOf(bytes)), volume, number, key);
    let nth = 0;
    for (const frame of table.frames) {
      const within = block - frame.block;
      if (within >= 0 && within < frame.count) {
        const { offsets, size } = table.pieces!;
        const at = table.dataAt + offsets[Math.floor((nth + within) * BLOCK / size)];
        return { ...chunk, at };
      }
      nth += frame.count;
    }
  }
  throw new Error("some chunk has it");
}

Deno.test("a volume that compresses + reads as it was written, in place and through a cache", async () => {
  for (const key of KEYS) {
    await inFolder(async ({ folder, store: path, journal, journalSize }) => {
      const data = contents();
      Deno.mkdirSync(path);
      await using store = await DirectoryStore.open(path);
      await make({ store, journal, journalSize, key }, data);
      const chunks = await chunksOf(store);
      assert(chunks.some(({ bytes }) => isPackedChunk(bytes)));
      assert(areEqual(await readAll("v", { store, key }), data));
      const cached = { store, key, cache: "4M", cacheDir: `${folder}/caches` };
      for (let time = 0; time < 2; time++) assert(areEqual(await readAll("v", cached), data));
      const opened = await unlocked(store, "v", key);
      const info = await volumeInfo(opened, "v");
      assertEquals([info.compression, info.deadBytes], ["zstd", undefined]);
      assertEquals(info.storedBytes, chunks.reduce((sum, { size }) => sum + size, 0));
      assert(info.storedBytes < info.mappedBytes! * 0.6);
      assertEquals((await checkVolume(opened, "v")).findings, []);
      // A piece that is damaged is an error which says where; the others are there.
      const { name, bytes, version, at } = placeOf(3, chunks, info.uuid, keyOf(opened));
      const damaged = bytes.slice();
      damaged[at] ^= 1;
      assert(await store.replace(name, damaged, version) !== undefined, "it is replaced");
      for (const options of [{ store, key }, { ...cached, cacheDir: `${folder}/others` }]) {
        const lines: string[] = [];
        await using volume = await Volume.open("v", {
          ...{ ...options, readOnly: true, report: (line) => lines.push(line) },
        });
        const part = new Uint8Array(BLOCK);
        await assertRejects(() => volume.read(part, 3 * BLOCK), UblkError);
        assert(lines.length > 0 && /chunks\/\d+\b.*\b\d{3,} /.test(lines[0]), lines.join());
        await volume.read(part, 130 * BLOCK);
        assertEquals(part, data.subarray(130 * BLOCK, 131 * BLOCK));
      }
    });
  }
});

Deno.test("a volume that compresses + copies, clones, collections and repairs + all go on", async () => {
  for (const key of KEYS) {
    await inFolder(async ({ journal, journalSize }) => {
      const data = contents();
      const store = new MemoryStore();
      const place = { store, journal, journalSize, key };
      await make(place, data);
      const opened = () => unlocked(store, "v", key);
      // A clone inherits it, and what it copies is compressed.
      await cloneVolume(store, "v", "c", { key });
      await flattenVolume(await unlocked(store, "c", key), "c");
      assert(areEqual(await readAll("c", place), data));
      assertEquals((await volumeInfo(store, "c")).compression, "zstd");
      assert((await chunksOf(store, "c")).some(({ bytes }) => isPackedChunk(bytes)));
      const other = new MemoryStore();
      await copyVolume(await opened(), "v", other);
      assert(areEqual(await readAll("v", { store: other, key }), data));
      const [ours, copied] = [await chunksOf(store), await chunksOf(other)];
      assertEquals(copied.map(({ size }) => size), ours.map(({ size }) => size));
      // Half of each chunk is overwritten: what is left of the old ones is moved.
      {
        await using volume = await Volume.open("v", place);
        for (let at = 0; at < BLOCKS; at += 2) {
          data.fill(at, at * BLOCK, (at + 1) * BLOCK);
          await volume.write(data.subarray(at * BLOCK, (at + 1) * BLOCK), at * BLOCK);
        }
        await volume.sync();
      }
      const names = ours.map(({ name }) => name);
      const freed = await collectVolume(await opened(), "v");
      const left = (await chunksOf(store)).map(({ name }) => name);
      assert(freed.chunks >= 1 && names.some((name) => !left.includes(name)), `${freed.chunks}`);
      assert(areEqual(await readAll("v", place), data));
      // Nothing but chunks, and the key.
      for (const name of await Array.fromAsync(store.list("v/"), (object) => object.name)) {
        if (!/chunks|keys/.test(name)) await store.delete(name);
      }
      const report = await repairVolume(await opened(), "v", { size: BLOCKS * BLOCK });
      assertEquals([report.repaired, report.lostBytes], [true, 0]);
      assertEquals((await volumeInfo(store, "v")).compression, "zstd");
      assert(areEqual(await readAll("v", place), data));
    });
  }
});

Deno.test("Volume.create + a compression that nobody knows + is refused by its name", async () => {
  const options = { store: new MemoryStore(), size: BLOCKS * BLOCK, compress: "lz4" as never };
  await assertRejects(() => Volume.create("w", options), UblkError, "compressed by lz4");
});
