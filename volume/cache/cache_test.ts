import { assert, assertEquals, assertRejects } from "@std/assert";
import { inFolder, type VolumeFolders } from "../../tests/volumes/folders.ts";
import { WatchedStore } from "../../tests/volumes/watched_store.ts";
import { UblkError } from "../../uapi/error.ts";
import { removeVolume } from "../list.ts";
import { CACHE_SIZES, ENGINE_SIZES } from "../sizes.ts";
import { type OpenVolumeOptions, Volume } from "../volume.ts";
import { LEAST_CACHE_BYTES } from "./options.ts";

const BLOCK = 4096;
const LINE = CACHE_SIZES.line;
const MIB = 1 << 20;

/** Data in which each block is another. */
function dataOf(bytes: number, seed = 1): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(bytes / 4).map((_, at) => Math.imul(at >>> 10, 0x9e3779b1) + seed);
  return new Uint8Array(words.buffer);
}

/** Makes a volume with data from the start on, and leaves it in order. */
async function stored(
  { journal, journalSize }: VolumeFolders,
  data: Uint8Array<ArrayBuffer>,
  store = new WatchedStore(),
): Promise<WatchedStore> {
  await Volume.create("v", { store, size: "64M" });
  await using volume = await Volume.open("v", { store, journal, journalSize });
  await volume.write(data, 0);
  return store;
}

async function bytesAt(volume: Volume, offset: number, length = BLOCK) {
  const bytes = new Uint8Array(length).fill(0xee);
  await volume.read(bytes, offset);
  return bytes;
}

/** Reads of a table begin with the object; all others are of data. */
function dataGets({ gets }: WatchedStore) {
  return gets.filter(({ range }) => range.offset > 0);
}

Deno.test("a cache + many who wait for one line + it is fetched once", async () => {
  await inFolder(async (folders) => {
    const data = dataOf(4 * LINE);
    const store = await stored(folders, data);
    await using volume = await Volume.open("v", { store, readOnly: true });
    const blocks = Array.from({ length: 16 }, (_, nth) => 2 * LINE + nth * BLOCK);
    // Backwards: a stream would be read ahead.
    const backwards = blocks.reverse().flatMap((at) => [at, at, at]);
    const found = await Promise.all(backwards.map((at) => bytesAt(volume, at)));
    found.forEach((bytes, nth) => {
      assertEquals(bytes, data.subarray(backwards[nth], backwards[nth] + BLOCK));
    });
    assertEquals(store.gets.map(({ range }) => [range.offset > 0, range.length]), [
      ...[[false, LINE], [true, LINE]],
    ]);
    // Now it is in memory.
    await bytesAt(volume, 2 * LINE);
    assertEquals(store.gets.length, 2);
  });
});

Deno.test("a cache + a long read + is fetched by few calls, and nothing twice", async () => {
  await inFolder(async (folders) => {
    const data = dataOf(3 * MIB);
    const store = await stored(folders, data);
    await using volume = await Volume.open("v", { store, readOnly: true });
    assertEquals(await bytesAt(volume, 0, data.length), data);
    const lengths = dataGets(store).map(({ range }) => range.length);
    assertEquals(lengths.reduce((sum, length) => sum + length, 0), data.length);
    assert(lengths.length <= 4, `${lengths.length} calls`);
    assertEquals(volume.stats().cacheFetches, store.gets.length);
  });
});

Deno.test("a cache + a sequential stream + is read ahead, further and further, up to a bound", async () => {
  await inFolder(async (folders) => {
    const data = dataOf(16 * MIB);
    const store = await stored(folders, data);
    await using volume = await Volume.open("v", { store, readOnly: true });
    let furthest = 0;
    for (let at = 0; at < data.length; at += BLOCK) {
      assertEquals(await bytesAt(volume, at), data.subarray(at, at + BLOCK));
      const fetched = volume.stats().cacheFetchedBytes!;
      // A store needs some turns.
      for (let turn = 0; turn < 20; turn++) await undefined;
      furthest = Math.max(furthest, fetched - at);
    }
    // The first block, the second, and at most one at each chunk's beginning.
    const { cacheMisses, cacheReadAhead } = volume.stats();
    assert(cacheMisses! < 10, `${cacheMisses} readers waited`);
    assert(cacheReadAhead! > 250, `${cacheReadAhead} lines were read ahead`);
    assert(furthest > 2 * MIB && furthest < 10 * MIB, `${furthest} bytes ahead`);
    assert(dataGets(store).length < 50, `${dataGets(store).length} calls`);
    const fetched = dataGets(store).reduce((sum, { range }) => sum + range.length, 0);
    assertEquals(fetched, data.length);
  });
});

Deno.test("a cache + two streams and what is between + each is read ahead", async () => {
  await inFolder(async (folders) => {
    const data = dataOf(8 * MIB);
    const store = await stored(folders, data);
    await using volume = await Volume.open("v", { store, readOnly: true });
    for (let at = 0; at < 2 * MIB; at += BLOCK) {
      await bytesAt(volume, at);
      await bytesAt(volume, 4 * MIB + at);
      await bytesAt(volume, at * 7919 % (data.length - BLOCK) & ~(BLOCK - 1));
    }
    assert(volume.stats().cacheReadAhead! > 50);
  });
});

Deno.test("a cache + random reads + nothing is read ahead", async () => {
  await inFolder(async (folders) => {
    const data = dataOf(16 * MIB);
    const store = await stored(folders, data);
    await using volume = await Volume.open("v", { store, readOnly: true });
    for (let nth = 0; nth < 100; nth++) {
      // Each 39th block of 4096: none follows another.
      const at = nth * 39 % 4096 * BLOCK;
      assertEquals(await bytesAt(volume, at), data.subarray(at, at + BLOCK));
    }
    assertEquals(volume.stats().cacheReadAhead!, 0);
    assert(dataGets(store).every(({ range }) => range.length <= LINE));
  });
});

/** Options with a cache on disk, which has everything. */
function withCache(
  { journal, journalSize, folder }: VolumeFolders,
  store: WatchedStore,
  lines = CACHE_SIZES.lines,
): OpenVolumeOptions {
  const writes = Math.min(CACHE_SIZES.writes, lines / 2);
  const sizes = { ...ENGINE_SIZES, cache: { ...CACHE_SIZES, lines, writes } };
  return { store, journal, journalSize, cache: "16M", cacheDir: `${folder}/caches`, sizes };
}

Deno.test("a cache on disk + opened again + nothing is fetched", async () => {
  await inFolder(async (folders) => {
    const data = dataOf(4 * MIB);
    const store = await stored(folders, data);
    for (const round of [1, 2]) {
      store.gets = [];
      await using volume = await Volume.open("v", withCache(folders, store));
      assertEquals(await bytesAt(volume, 0, data.length), data);
      assertEquals(store.gets.length > 0, round === 1, `round ${round}`);
      if (round === 2) assert(volume.stats().cacheDiskHits! > 0);
    }
  });
});

Deno.test("a cache on disk + is damaged while it is used + what is wrong is fetched, and told to nobody", async () => {
  await inFolder(async (folders) => {
    const data = dataOf(4 * MIB);
    const store = await stored(folders, data);
    const reports: string[] = [];
    // Few lines in memory: the file is what is tested.
    const few = withCache(folders, store, 32);
    const options = { ...few, report: (line: string) => void reports.push(line) };
    await using volume = await Volume.open("v", options);
    // One by one: with many writes to the file under way, lines are not kept in it. And backwards, so that
    // none is read ahead.
    for (let at = data.length - LINE; at >= 0; at -= LINE) {
      await bytesAt(volume, at, LINE);
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    using file = await Deno.open(`${folders.folder}/caches/v/cache`, { write: true });
    for (let at = 64 << 10; at < 16 * MIB; at += 2 * LINE) {
      await file.seek(at, Deno.SeekMode.Start);
      await file.write(new Uint8Array(LINE).fill(7));
    }
    assertEquals(await bytesAt(volume, 0, data.length), data);
    assert(volume.stats().cacheBad! > 10, `${volume.stats().cacheBad!} lines were bad`);
    await Deno.truncate(`${folders.folder}/caches/v/cache`, 0);
    assertEquals(await bytesAt(volume, 0, data.length), data);
    assertEquals(reports, []);
  });
});

Deno.test("a cache on disk + a volume of the same name is made again + nothing of the old one is read", async () => {
  await inFolder(async (folders) => {
    const [old, data] = [dataOf(2 * MIB, 1), dataOf(2 * MIB, 2)];
    const store = await stored(folders, old);
    {
      await using volume = await Volume.open("v", withCache(folders, store));
      assertEquals(await bytesAt(volume, 0, old.length), old);
    }
    await removeVolume(store, "v");
    await stored({ ...folders, journal: `${folders.folder}/other` }, data, store);
    await using volume = await Volume.open("v", {
      ...withCache(folders, store),
      journal: `${folders.folder}/other`,
    });
    assertEquals(await bytesAt(volume, 0, data.length), data);
  });
});

Deno.test("a cache on disk + the store is brought back from a copy + nothing of the other future is read", async () => {
  await inFolder(async (folders) => {
    const store = await stored(folders, dataOf(MIB, 1));
    const [copy, other] = [await store.copy(), await store.copy()];
    const write = async (store: WatchedStore, seed: number) => {
      {
        await using volume = await Volume.open("v", withCache(folders, store));
        await volume.write(dataOf(MIB, seed), 0);
      }
      await using volume = await Volume.open("v", withCache(folders, store));
      assertEquals(await bytesAt(volume, 0, MIB), dataOf(MIB, seed));
    };
    await write(store, 2);
    // The same number of a chunk once more, with other data.
    await write(copy, 3);
    // And a copy whose epoch has passed that of the cache.
    for (let epoch = 0; epoch < 8; epoch++) {
      const { journal, journalSize } = folders;
      await using _volume = await Volume.open("v", { store: other, journal, journalSize });
    }
    await write(other, 4);
  });
});

Deno.test("a cache on disk + another process uses it, or it is a folder + the volume goes on without", async () => {
  await inFolder(async (folders) => {
    const data = dataOf(MIB);
    const store = await stored(folders, data);
    const reports: string[] = [];
    const report = (line: string) => void reports.push(line);
    const options = { ...withCache(folders, store), report, readOnly: true, journal: undefined };
    {
      await using first = await Volume.open("v", options);
      await using second = await Volume.open("v", options);
      assertEquals(await bytesAt(second, 0, MIB), data);
      assertEquals(await bytesAt(first, 0, MIB), data);
      assertEquals(reports.length, 1);
      assert(reports[0].endsWith("another process uses it"), reports[0]);
    }
    await Deno.remove(`${folders.folder}/caches/v/cache`);
    await Deno.mkdir(`${folders.folder}/caches/v/cache`);
    await using volume = await Volume.open("v", options);
    assertEquals(await bytesAt(volume, 0, MIB), data);
    assertEquals(reports.length, 2);
    assert(!reports[1].includes("\n") && reports[1].includes("goes on without"), reports[1]);
  });
});

Deno.test("a cache + a store that does not answer + that reader alone fails, in time, and later ones do not", async () => {
  await inFolder(async (folders) => {
    const data = dataOf(MIB);
    const store = await stored(folders, data);
    const reports: string[] = [];
    const sizes = { ...ENGINE_SIZES, cache: { ...CACHE_SIZES, waitUs: 100_000 } };
    await using volume = await Volume.open("v", {
      ...{ ...folders, store, sizes, report: (line: string) => void reports.push(line) },
    });
    await volume.write(dataOf(BLOCK, 9), 0);
    await bytesAt(volume, 8 * LINE);
    const { promise, resolve } = Promise.withResolvers<void>();
    store.gate = promise;
    await assertRejects(() => bytesAt(volume, 4 * LINE), UblkError, "EIO");
    assertEquals(reports, ["a read has failed: the store does not answer"]);
    // What is here is read all the while.
    assertEquals(await bytesAt(volume, 0), dataOf(BLOCK, 9));
    assertEquals(await bytesAt(volume, 8 * LINE), data.subarray(8 * LINE, 8 * LINE + BLOCK));
    resolve();
    assertEquals(await bytesAt(volume, 4 * LINE), data.subarray(4 * LINE, 4 * LINE + BLOCK));
  });
});

Deno.test("a cache + what the store has wrong + is an error, which is told", async () => {
  await inFolder(async (folders) => {
    const data = dataOf(MIB);
    const store = await stored(folders, data);
    const [{ name }] = (await Array.fromAsync(store.list("v/chunks/"))).values();
    const { bytes } = (await store.get(name))!;
    const { length } = bytes;
    const reports: string[] = [];
    const options = {
      ...{ store, readOnly: true, cache: "4M", cacheDir: folders.folder },
      report: (line: string) => void reports.push(line),
    };
    const fails = async (words: RegExp) => {
      await using volume = await Volume.open("v", options);
      await assertRejects(() => bytesAt(volume, MIB - BLOCK), UblkError, "EIO");
      assertEquals(reports.length, 1);
      assert(words.test(reports[0]), reports[0]);
      reports.length = 0;
      return volume;
    };
    const replace = async (bytes: Uint8Array<ArrayBuffer>) => {
      await store.delete(name);
      await store.putIfAbsent(name, bytes);
    };
    // A bit of the data: the other lines are right.
    bytes[length - 1] ^= 1;
    await replace(bytes);
    store.gets = [];
    await fails(/^v\/chunks\/0{15}1 has a wrong checksum in the \d+ bytes from \d+ on/);
    assertEquals(dataGets(store).length, 3);
    {
      await using volume = await Volume.open("v", options);
      assertEquals(await bytesAt(volume, 0), data.subarray(0, BLOCK));
    }
    await Deno.remove(`${folders.folder}/v/cache`);
    bytes[length - 1] ^= 1;
    bytes[40] ^= 1;
    await replace(bytes);
    await fails(/^v\/chunks\/0{15}1: its checksum is wrong/);
    bytes[40] ^= 1;
    await replace(bytes.slice(0, length - BLOCK));
    await fails(/the object was cut short/);
    await store.delete(name);
    await Deno.remove(`${folders.folder}/v/cache`);
    await fails(/chunks\/0{15}1 is missing, and the map names it$/);
    // Once it is back, it is read.
    await replace(bytes);
    await using volume = await Volume.open("v", options);
    assertEquals(await bytesAt(volume, 0, MIB), data);
  });
});

Deno.test("a cache + impossible options + are refused by name", async () => {
  const store = new WatchedStore();
  const refused = async (options: Partial<OpenVolumeOptions>, words: string) => {
    const error = await assertRejects(() => Volume.open("v", { store, ...options }), UblkError);
    assertEquals(error.code, "INVALID_ARGUMENT");
    assert(error.message.includes(words), error.message);
  };
  await refused({ cache: LEAST_CACHE_BYTES - 1, cacheDir: "/c" }, "give 1 MiB or more");
  await refused({ cache: "many", cacheDir: "/c" }, "give a size such as 10G");
  await refused({ cacheDir: "/c" }, "no size");
  await refused({ cache: "1G", readOnly: true }, "no folder");
});
