import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { FaultyStore } from "../../store/faulty.ts";
import { MemoryStore } from "../../store/memory.ts";
import { UblkError } from "../../uapi/error.ts";
import { Dice } from "../../uapi/dice.ts";
import { inFolder } from "../../tests/volumes/folders.ts";
import type { Manifest } from "../format/manifest.ts";
import { loadMaps } from "../attach.ts";
import { briefClaim, Committed } from "../committed.ts";
import { VolumeCounters } from "../counters.ts";
import { chunkOf } from "../format/place.ts";
import { NO_UUID } from "../format/record.ts";
import { checkVolume } from "../check.ts";
import { volumeInfo } from "../list.ts";
import { readHead, stateOf } from "../state.ts";
import { removeVolume } from "../list.ts";
import { ObjectNames } from "../names.ts";
import { PacedStore } from "../care/paced_store.ts";
import { MACHINE } from "../seam.ts";
import { createSnapshot, removeSnapshot } from "../snapshots.ts";
import { Volume } from "../volume.ts";
import { Bases } from "./bases.ts";
import { collectGarbage } from "./collect.ts";
import { collectVolume } from "./collect_volume.ts";
import { SpaceKeeper } from "./keeper.ts";
import { Moves } from "./moves.ts";
import { BESIDE_DRAIN, ON_REQUEST, sparseChunks } from "./sparse.ts";

const BLOCK = 4096;

Deno.test("collectVolume + random overwrites + at most 1.2 times what is live is left", async () => {
  await inFolder(async (at) => {
    // Too little for a collection beside the drain.
    const blocks = 256;
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
    assert(after.storedBytes <= 1.2 * after.mappedBytes!, words);
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
  const needed = (storedMib: number, growth = 0, policy = BESIDE_DRAIN) => {
    const sizes = { storedBytes: storedMib * MIB, neededBytes: 8.2 * MIB };
    return [...sparseChunks({ held, manifest, ...sizes }, policy, growth * MIB)];
  };
  assertEquals(needed(12.8), []);
  assertEquals(needed(12.9), [2]);
  assertEquals(needed(17), [2, 3]);
  // Growth counts, but new data is not garbage.
  assertEquals([needed(12.6, 0.2), needed(12.6, 0.4)], [[], [2]]);
  assertEquals(needed(12, 100), []);
  // No more is held in memory at a time than may be; one chunk always may.
  assertEquals(needed(17, 0, { ...BESIDE_DRAIN, mostBytes: MIB }), [2]);
  assertEquals(needed(17, 0, { ...BESIDE_DRAIN, mostBytes: BLOCK }), [2]);
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

/** A store whose calls a test sees. */
class SeenStore extends PacedStore {
  headReads = 0;
  beforeDelete = () => Promise.resolve();

  override get(...args: Parameters<PacedStore["get"]>) {
    if (args[0] === new ObjectNames("v").head) this.headReads++;
    return super.get(...args);
  }

  override async delete(...args: Parameters<PacedStore["delete"]>) {
    await this.beforeDelete();
    return await super.delete(...args);
  }
}

/** Writes all of a volume so many times. */
async function overwrite(store: MemoryStore, journal: string, times: number): Promise<void> {
  await using volume = await Volume.open("v", { store, journal, journalSize: "16M" });
  for (let value = 1; value <= times; value++) {
    await volume.write(new Uint8Array(1 << 20).fill(value), 0);
    await volume.sync();
  }
}

Deno.test("collectGarbage + a volume that is removed and made again meanwhile + loses nothing", async () => {
  await inFolder(async ({ folder, journal }) => {
    const store = new MemoryStore();
    const shape = { store, size: 1 << 20, chunkSize: "64K" };
    await Volume.create("v", shape);
    await overwrite(store, journal, 4);
    const { head } = (await readHead(store, new ObjectNames("v")))!;
    const seen = new SeenStore(store);
    seen.beforeDelete = async () => {
      seen.beforeDelete = () => Promise.resolve();
      await removeVolume(store, "v");
      await Volume.create("v", shape);
      await overwrite(store, `${folder}/other`, 1);
    };
    const parts = { store: seen, names: new ObjectNames("v"), base: head, seam: MACHINE };
    const freed = await collectGarbage(parts);
    assert(freed!.chunks > 40, `${freed!.chunks} chunks`);
    assert(seen.headReads <= 4, `${seen.headReads} looks at the head`);
    assertEquals((await checkVolume(store, "v")).findings, []);
  });
});

// Regression: chunks that were gone were chosen again, without a pause and without end.
Deno.test("collectVolume + the volume is removed before its sparse chunks are read + ends with an error", async () => {
  await inFolder(async ({ journal }) => {
    const store = new MemoryStore();
    await Volume.create("v", { store, size: 1 << 20, chunkSize: "64K" });
    {
      await using volume = await Volume.open("v", { store, journal, journalSize: "16M" });
      await volume.write(new Uint8Array(1 << 20).fill(1), 0);
      await volume.sync();
      // Of each chunk a quarter is left.
      for (let block = 0; block < 256; block++) {
        if (block % 4 > 0) await volume.write(new Uint8Array(BLOCK).fill(2), block * BLOCK);
      }
    }
    const { chunks } = new ObjectNames("v");
    let reads = 0;
    class GoneStore extends PacedStore {
      override async get(...args: Parameters<PacedStore["get"]>) {
        if (args[0].startsWith(chunks) && ++reads === 1) await removeVolume(store, "v");
        assert(reads < 1000, "it ends");
        return await super.get(...args);
      }
    }
    const error = await assertRejects(() => collectVolume(new GoneStore(store), "v"), UblkError);
    assertEquals([error.code, reads > 0], ["VOLUME_FENCED", true]);
  });
});

Deno.test("removeVolume + nobody knows its numbers + the next one leaves some out", async () => {
  await inFolder(async ({ folder, journal }) => {
    const store = new MemoryStore();
    const shape = { store, size: 1 << 20, chunkSize: "64K" };
    const names = new ObjectNames("v");
    await Volume.create("v", shape);
    await overwrite(store, journal, 4);
    const { head } = (await readHead(store, names))!;
    await store.delete(names.manifest(head.manifest));
    await removeVolume(store, "v", { force: true });
    await Volume.create("v", shape);
    const { manifest } = await stateOf(store, names);
    // Chunks may have been deleted that had greater numbers than those that were left.
    assert(Math.min(manifest.nextChunk, manifest.nextRun, manifest.number) > 1 << 20);
    await overwrite(store, `${folder}/other`, 1);
    assertEquals((await checkVolume(store, "v")).findings, []);
  });
});

Deno.test("Moves.read + reads so many bytes in a second, until it is told to end", async () => {
  await inFolder(async ({ journal }) => {
    const store = new MemoryStore();
    const names = new ObjectNames("v");
    await Volume.create("v", { store, size: 1 << 20, chunkSize: "64K" });
    await overwrite(store, journal, 1);
    const { manifest } = await stateOf(store, names);
    const { chunks: map } = await loadMaps({ store, names, manifest });
    const chunks = new Set([1, 2, 3]);
    const parts = { store, names, manifest, map, chunks };
    const bytes = await Promise.all([...chunks].map((number) => store.get(names.chunk(number))));
    const total = bytes.reduce((sum, found) => sum + found!.size, 0);
    const began = performance.now();
    const moves = await Moves.read({ ...parts, bandwidth: total * 4 });
    const tookMs = performance.now() - began;
    assert(moves.blocks > 40 && tookMs >= 250, `${moves.blocks} blocks in ${tookMs} ms`);
    const end = new AbortController();
    const reading = Moves.read({ ...parts, bandwidth: total / 60, signal: end.signal });
    end.abort(new Error("it is detached"));
    await assertRejects(() => reading, Error, "it is detached");
    assert(performance.now() - began < 60_000);
  });
});

/**
 * A volume of sparse chunks, each a quarter full but the first one, which has one block left: that one is
 * damaged.
 */
async function withDamage(store: MemoryStore, journal: string): Promise<{ damaged: string }> {
  const names = new ObjectNames("v");
  await Volume.create("v", { store, size: 1 << 20, chunkSize: "64K" });
  await overwrite(store, journal, 1);
  {
    await using volume = await Volume.open("v", { store, journal, journalSize: "16M" });
    for (let block = 1; block < 256; block++) {
      const isKept = block % 4 === 0 && block >= 16;
      if (!isKept) await volume.write(new Uint8Array(BLOCK).fill(2), block * BLOCK);
    }
    await volume.sync();
  }
  const { manifest } = await stateOf(store, names);
  const { chunks: map } = await loadMaps({ store, names, manifest });
  map.find(0, 1);
  const damaged = names.chunk(chunkOf(map.place));
  const { bytes, version } = (await store.get(damaged))!;
  bytes[BLOCK + 17] ^= 1;
  await store.replace(damaged, bytes, version);
  assertEquals((await checkVolume(store, "v")).findings.map(({ object }) => object), [damaged]);
  return { damaged };
}

// One damaged chunk ended all moving, now and ever after: it was the first to be chosen.
Deno.test("collectVolume + a damaged chunk is the emptiest + the others are moved, and the error names it", async () => {
  await inFolder(async ({ journal }) => {
    const store = new MemoryStore();
    const { damaged } = await withDamage(store, journal);
    const before = await volumeInfo(store, "v");
    for (let time = 0; time < 2; time++) {
      const error = await assertRejects(() => collectVolume(store, "v"), UblkError);
      assertEquals(error.code, "VOLUME_DAMAGED");
      assert(error.message.includes(damaged), error.message);
    }
    const after = await volumeInfo(store, "v");
    assertEquals(after.mappedBytes, before.mappedBytes);
    // All that is left of garbage is in the damaged chunk.
    const most = 1.1 * after.mappedBytes! + (64 << 10);
    assert(
      before.storedBytes > most && after.storedBytes <= most,
      `${before.storedBytes}, ${after.storedBytes}, ${most}`,
    );
    const { findings } = await checkVolume(store, "v");
    assertEquals(findings.map(({ object }) => object), [damaged]);
    assert(await store.get(damaged) !== undefined);
  });
});

Deno.test("SpaceKeeper + a damaged chunk is the emptiest + it is told once, and the others are moved", async () => {
  await inFolder(async ({ journal }) => {
    const store = new MemoryStore();
    const { damaged } = await withDamage(store, journal);
    const claim = briefClaim(MACHINE, "a test");
    const committed = await Committed.claim(store, "v", claim, () => NO_UUID);
    const lines: string[] = [];
    let told = Promise.withResolvers<void>();
    const keeper = new SpaceKeeper({
      ...{ committed, counters: new VolumeCounters(), seam: MACHINE, policy: ON_REQUEST },
      report: (line) => void lines.push(line),
      onMoves: () => told.resolve(),
    });
    for (let time = 0; time < 2; time++) {
      keeper.ask(committed.head.manifest);
      await told.promise;
      assert(keeper.takeMoves()!.blocks > 40);
      told = Promise.withResolvers<void>();
    }
    await keeper.close();
    assertEquals(lines.length, 1);
    assert(lines[0].includes(damaged), lines[0]);
  });
});

Deno.test("collectVolume + tells of each object that it deletes", async () => {
  await inFolder(async ({ journal }) => {
    const store = new MemoryStore();
    await Volume.create("v", { store, size: 1 << 20, chunkSize: "64K" });
    await overwrite(store, journal, 4);
    const told: number[][] = [];
    const onProgress = (done: number, total: number) => void told.push([done, total]);
    const { objects } = await collectVolume(store, "v", { onProgress, bandwidth: 100 << 20 });
    assertEquals(told.map(([done]) => done), told.map((_, nth) => nth + 1));
    assertEquals([told.length, told.at(-1)], [objects, [objects, objects]]);
  });
});

Deno.test("collectVolume + an attached volume without commits + what an earlier attachment and a snapshot have left", async () => {
  await inFolder(async ({ journal }) => {
    const store = new MemoryStore();
    await Volume.create("v", { store, size: 1 << 20, chunkSize: "64K" });
    await overwrite(store, journal, 3);
    await createSnapshot(store, "v", "s");
    await overwrite(store, journal, 2);
    await using _volume = await Volume.open("v", { store, journal, journalSize: "16M" });
    const options = { journal, patienceMs: 60_000 };
    const stored = async () => (await volumeInfo(store, "v")).storedBytes;
    const before = await stored();
    await collectVolume(store, "v", options);
    const between = await stored();
    await removeSnapshot(store, "v", "s");
    await collectVolume(store, "v", options);
    const after = await stored();
    assert(
      before > between && between > after && after < 1.1 * (1 << 20),
      `${[before, between, after]}`,
    );
  });
});

Deno.test("collectVolume + a server that has died + says so at once", async () => {
  await inFolder(async ({ journal }) => {
    const store = new FaultyStore(new MemoryStore());
    await Volume.create("v", { store, size: 1 << 20 });
    const volume = await Volume.open("v", { store, journal, journalSize: "16M", patienceMs: 0 });
    await volume.write(new Uint8Array(BLOCK).fill(1), 0);
    await volume.sync();
    store.faults = ({ name }) => name === "get" ? undefined : "unavailable";
    await volume.close().catch(() => {});
    store.faults = undefined;
    const error = await assertRejects(() => collectVolume(store, "v", { journal }), UblkError);
    assertEquals(error.code, "VOLUME_BUSY");
    assertMatch(error.message, /its server has died.*attach it/);
  });
});
