/**
 * What a volume counts, against what a store and a journal see of it.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { MemoryStore } from "../store/memory.ts";
import { StoreError, type StoreTerms, type Version } from "../store/store.ts";
import { inFolder } from "../tests/volumes/folders.ts";
import { UblkError } from "../uapi/error.ts";
import { VOLUME_COUNTERS } from "./counters.ts";
import { readHead, readManifest } from "./state.ts";
import { SEGMENT_HEADER_BYTES } from "./format/journal_layout.ts";
import { ObjectNames } from "./names.ts";
import { MACHINE, type Seam } from "./seam.ts";
import { Volume } from "./volume.ts";

const BLOCK = 4096;

/** A store that adds up what is put into it, by the folder of the object. */
class Tally extends MemoryStore {
  readonly bytes: Record<string, number> = {};
  /**
   * The drain's clock stands still, so that it commits nothing by itself, however slow the machine is.
   */
  isStill = true;
  readonly seam: Seam = {
    ...{ ...MACHINE, clock: () => this.isStill ? 0 : performance.now() },
  };
  /** Objects are put once this has resolved. */
  opens: Promise<void> = Promise.resolve();
  /** So many puts fail. */
  failures = 0;
  /** The last byte of what is read is another one. */
  isDamaged = false;

  #put(name: string, bytes: Uint8Array<ArrayBuffer>): void {
    if (this.failures > 0) {
      this.failures--;
      throw new StoreError("unavailable", "away");
    }
    const folder = name.split("/")[1];
    this.bytes[folder] = (this.bytes[folder] ?? 0) + bytes.length;
  }

  override async putIfAbsent(name: string, bytes: Uint8Array<ArrayBuffer>, terms?: StoreTerms) {
    await this.opens;
    this.#put(name, bytes);
    return await super.putIfAbsent(name, bytes, terms);
  }

  override async get(name: string, terms?: StoreTerms) {
    const found = await super.get(name, terms);
    if (this.isDamaged) found!.bytes[found!.bytes.length - 1]++;
    return found;
  }

  override async replace(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    version: Version,
    terms?: StoreTerms,
  ) {
    this.#put(name, bytes);
    return await super.replace(name, bytes, version, terms);
  }
}

Deno.test("docs/volumes.md lists every counter of a volume, and no other", () => {
  const page = Deno.readTextFileSync(new URL("../docs/volumes.md", import.meta.url));
  const table = page.split("\n## ").find((part) => part.startsWith("Counters\n"))!;
  const rows = table.split("\n").filter((line) => line.startsWith("| `"));
  const listed = rows.flatMap((row) => row.split("|")[1].match(/(?<=`)\w+(?=`)/g) ?? []);
  assertEquals(listed.toSorted(), VOLUME_COUNTERS.map(({ name }) => name).toSorted());
});

async function withVolume(
  run: (volume: Volume, store: Tally, reopened: () => Promise<Volume>) => Promise<void>,
): Promise<void> {
  await inFolder(async ({ folder }) => {
    await using store = new Tally();
    await Volume.create("v", { store, size: "64M" });
    for (const name of Object.keys(store.bytes)) store.bytes[name] = 0;
    const open = () =>
      Volume.open("v", { store, journal: `${folder}/j`, journalSize: "16M", seam: store.seam });
    await using volume = await open();
    await run(volume, store, open);
  });
}

/** Waits until the engine has taken over what the store has. */
async function takenOver(volume: Volume): Promise<void> {
  while (volume.stats().journalBytes !== 0) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

function filled(blocks: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(blocks * BLOCK).fill(7);
}

Deno.test("a volume counts the bytes that were written, and those that this wrote to journal and store", async () => {
  await withVolume(async (volume, store) => {
    const before = volume.stats();
    assertEquals(before.journalSizeBytes, 16 << 20);
    assertEquals([before.writtenBytes, before.journalBytes, before.commits], [0, 0, 0]);
    assertEquals([before.journalAmplification, before.storeAmplification], [null, null]);
    for (let nth = 0; nth < 10; nth++) await volume.write(filled(20), nth * 20 * BLOCK);
    const waiting = volume.stats();
    assertEquals([waiting.writtenBytes, waiting.lagBytes], [200 * BLOCK, 200 * BLOCK]);
    // Ten batches behind one header of a segment, and each has a header of one page.
    const appended = SEGMENT_HEADER_BYTES + 10 * 21 * BLOCK;
    assertEquals([waiting.journalWrittenBytes, waiting.journalBytes], [appended, appended]);
    await volume.sync();
    await takenOver(volume);
    const stored = volume.stats();
    const { bytes } = store;
    assert(bytes.chunks > 200 * BLOCK && bytes.maps > 0, "the store has data and a map");
    assertEquals(stored.chunkWrittenBytes, bytes.chunks);
    assertEquals(stored.mapWrittenBytes, bytes.maps);
    assertEquals(stored.manifestWrittenBytes, bytes.manifests + bytes.head);
    assertEquals([stored.commits, stored.storeFailures, stored.lagBytes], [1, 0, 0]);
    assertEquals(stored.lagSeconds, 0);
    assertEquals(stored.journalAmplification, appended / (200 * BLOCK));
    const put = bytes.chunks + bytes.maps + bytes.manifests + bytes.head;
    assertEquals(stored.storeAmplification, put / (200 * BLOCK));
    // The journal counts on.
    await volume.write(filled(1), 0);
    await volume.sync();
    const names = new ObjectNames("v");
    const { head } = (await readHead(store, names))!;
    const { position, written } = await readManifest(store, names, head);
    const { journalWrittenBytes, writtenBytes, commits } = volume.stats();
    assertEquals([journalWrittenBytes, writtenBytes, commits], [position, written, 2]);
  });
});

Deno.test("a volume counts reads by where the data was, and trims", async () => {
  await withVolume(async (volume, _store, open) => {
    await volume.write(filled(4), 0);
    await volume.sync();
    await takenOver(volume);
    await volume.write(filled(2), 8 * BLOCK);
    await volume.trim(0, BLOCK);
    // This one is a hole already.
    await volume.writeZeroes(100 * BLOCK, 50 * BLOCK);
    await volume.read(filled(16), 0);
    const { trims, trimmedBytes, damagedReads, openChunks, ...stats } = volume.stats();
    // Chunks of this store are no files.
    assertEquals([trims, trimmedBytes, damagedReads, openChunks], [2, 51 * BLOCK, 0, 0]);
    assertEquals(
      [stats.chunkReadBytes, stats.journalReadBytes, stats.holeReadBytes],
      [3 * BLOCK, 2 * BLOCK, 11 * BLOCK],
    );
    await volume.close();
    // Another one begins anew.
    await using again = await open();
    assertEquals(again.stats().chunkReadBytes, 0);
  });
});

Deno.test("a volume + a store that is away + counts its failures, and how far it lags behind", async () => {
  await withVolume(async (volume, store) => {
    await volume.write(filled(3), 0);
    await new Promise((resolve) => setTimeout(resolve, 2));
    const { lagSeconds, lagBytes } = volume.stats();
    assert(lagSeconds! > 0.002, "a write has an age");
    assertEquals(lagBytes, 3 * BLOCK);
    store.isStill = false;
    store.failures = 3;
    await volume.sync();
    await takenOver(volume);
    const stats = volume.stats();
    assertEquals([stats.storeFailures, stats.commits], [3, 1]);
    assertEquals([stats.lagBytes, stats.lagSeconds], [0, 0]);
  });
});

Deno.test("a volume + writes while a commit is being made + the lag is theirs, once it is made", async () => {
  await withVolume(async (volume, store) => {
    await volume.write(filled(3), 0);
    // Longer than it takes until another mark is made.
    await new Promise((resolve) => setTimeout(resolve, 60));
    const { promise, resolve } = Promise.withResolvers<void>();
    store.opens = promise;
    const synced = volume.sync();
    await new Promise((resolve) => setTimeout(resolve, 1));
    const startMs = performance.now();
    await volume.write(filled(2), 10 * BLOCK);
    assert(volume.stats().lagSeconds! > 0.06, "the first write is the oldest");
    resolve();
    await synced;
    while (volume.stats().lagBytes !== 2 * BLOCK) await new Promise((next) => setTimeout(next, 1));
    const { lagSeconds } = volume.stats();
    assert(lagSeconds! * 1000 <= performance.now() - startMs, "the second one is");
  });
});

Deno.test("a volume + damaged chunks + counts each read that they fail", async () => {
  await withVolume(async (volume, store) => {
    await volume.write(filled(4), 0);
    await volume.sync();
    await takenOver(volume);
    await using reader = await Volume.open("v", { store, readOnly: true });
    store.isDamaged = true;
    await assertRejects(() => volume.read(filled(1), 3 * BLOCK), UblkError);
    await assertRejects(() => volume.read(filled(2), 2 * BLOCK), UblkError);
    assertEquals(volume.stats().damagedReads, 2);
    await assertRejects(() => reader.read(filled(4), 0), UblkError);
    assertEquals(reader.stats().damagedReads, 1);
    store.isDamaged = false;
  });
});

Deno.test("a volume + a store that is elsewhere + counts what its cache does", async () => {
  await withVolume(async (volume, store) => {
    assertEquals(volume.stats().cacheHits, null);
    await volume.write(filled(4), 0);
    await volume.sync();
    await takenOver(volume);
    await using reader = await Volume.open("v", { store, readOnly: true });
    for (const one of [volume, reader]) {
      await one.read(filled(4), 0);
      await one.read(filled(4), 0);
      const { cacheMisses, cacheMemoryHits, cacheFetches, cacheFetchedBytes } = one.stats();
      assertEquals(cacheMisses, 1);
      assert(cacheMemoryHits! >= 1 && cacheFetches! >= 1 && cacheFetchedBytes! >= 4 * BLOCK);
    }
  });
});

Deno.test("a volume that is opened for reading counts its reads", async () => {
  await withVolume(async (volume, store) => {
    await volume.write(filled(4), 0);
    await volume.sync();
    await using reader = await Volume.open("v", { store, readOnly: true });
    await reader.read(filled(8), 0);
    const { chunkReadBytes, holeReadBytes, writtenBytes } = reader.stats();
    assertEquals([chunkReadBytes, holeReadBytes, writtenBytes], [4 * BLOCK, 4 * BLOCK, 0]);
  });
});
