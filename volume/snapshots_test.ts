import { assert, assertEquals, assertRejects } from "@std/assert";
import { FaultyStore } from "../store/faulty.ts";
import { MemoryStore } from "../store/memory.ts";
import { openStore } from "../store/open.ts";
import { type Store, StoreError } from "../store/store.ts";
import { inFolder, type VolumeFolders } from "../tests/volumes/folders.ts";
import { UblkError } from "../uapi/error.ts";
import { readCatalog } from "./catalog.ts";
import { checkVolume } from "./check.ts";
import { listVolumes, removeVolume, volumeInfo } from "./list.ts";
import { ObjectNames } from "./names.ts";
import { rollbackVolume } from "./rollback.ts";
import { MACHINE } from "./seam.ts";
import { createSnapshot, keptState, listSnapshots, removeSnapshot } from "./snapshots.ts";
import { collectVolume } from "./space/collect_volume.ts";
import { Volume } from "./volume.ts";

const BLOCK = 4096;
const NAMES = new ObjectNames("v");

async function codeOf(call: () => Promise<unknown>): Promise<string> {
  return (await assertRejects(call, UblkError)).code;
}

function filled(byte: number, blocks = 1): Uint8Array<ArrayBuffer> {
  return new Uint8Array(blocks * BLOCK).fill(byte);
}

async function firstByte(store: Store | string, name: string, block = 0): Promise<number> {
  await using volume = await Volume.open(name, { store, readOnly: true });
  const found = filled(0xee);
  await volume.read(found, block * BLOCK);
  return found[0];
}

/** A volume of which a snapshot is made after each byte, and then everything is overwritten. */
async function written(at: VolumeFolders, bytes: readonly number[]): Promise<void> {
  await Volume.create("v", { store: at.store, size: "1M" });
  await using volume = await Volume.open("v", at);
  for (const byte of bytes) {
    await volume.write(filled(byte, 8), 0);
    await volume.sync();
    await createSnapshot(at.store, "v", `s${byte}`);
  }
  await volume.write(filled(99, 8), 0);
}

Deno.test("createSnapshot + the volume as it was, however much is written since", async () => {
  await inFolder(async (at) => {
    await written(at, [1, 2]);
    assertEquals((await listSnapshots(at.store, "v")).map(({ name }) => name), ["s1", "s2"]);
    assertEquals((await listSnapshots(at.store, "v"))[0].size, 1 << 20);
    for (const byte of [1, 2]) assertEquals(await firstByte(at.store, `v@s${byte}`), byte);
    assertEquals(await firstByte(at.store, "v"), 99);
    assertEquals((await checkVolume(at.store, "v")).findings, []);
    assertEquals(await codeOf(() => createSnapshot(at.store, "v", "s1")), "VOLUME_EXISTS");
    assertEquals(await codeOf(() => createSnapshot(at.store, "w", "s1")), "VOLUME_NOT_FOUND");
    assertEquals(await codeOf(() => createSnapshot(at.store, "v", "a@b")), "INVALID_ARGUMENT");
    assertEquals(await codeOf(() => Volume.open("v@s1", at)), "INVALID_ARGUMENT");
    assertEquals(await codeOf(() => firstByte(at.store, "v@no")), "VOLUME_NOT_FOUND");
    assertEquals(await listVolumes(at.store), ["v"]);
  });
});

Deno.test("createSnapshot + with the journal it has what was answered before", async () => {
  await inFolder(async (at) => {
    await Volume.create("v", { store: at.store, size: "1M" });
    await using volume = await Volume.open("v", at);
    await volume.write(filled(7), 0);
    // Nobody has asked the store to have it.
    await createSnapshot(at.store, "v", "s", { journal: at.journal, wait: true });
    assertEquals(await firstByte(at.store, "v@s"), 7);
  });
});

Deno.test("removeSnapshot, collectVolume + its space comes back, and nobody else's does", async () => {
  await inFolder(async (at) => {
    await written(at, [1, 2, 3]);
    const before = await volumeInfo(at.store, "v");
    assertEquals([before.snapshots, before.mappedBytes, before.sharedBytes], [3, 8 * BLOCK, 0]);
    assertEquals(before.keptBytes, 3 * 8 * BLOCK);
    const none = await collectVolume(at.store, "v");
    assertEquals(none.chunks, 0);
    await removeSnapshot(at.store, "v", "s2");
    assertEquals(await codeOf(() => removeSnapshot(at.store, "v", "s2")), "VOLUME_NOT_FOUND");
    const freed = await collectVolume(at.store, "v");
    assertEquals(freed.chunks, 1);
    assert(freed.bytes >= 8 * BLOCK);
    for (const byte of [1, 3]) assertEquals(await firstByte(at.store, `v@s${byte}`), byte);
    assertEquals(await firstByte(at.store, "v"), 99);
    const after = await volumeInfo(at.store, "v");
    assertEquals(after.keptBytes, 2 * 8 * BLOCK);
    assert(after.deadBytes! < BLOCK * 4 && after.storedBytes < before.storedBytes);
    const { findings, unnamed } = await checkVolume(at.store, "v");
    assertEquals([findings, unnamed], [[], 0]);
  });
});

Deno.test("collectVolume + what the writer overwrites goes by itself, and beside it", async () => {
  await inFolder(async (at) => {
    await Volume.create("v", { store: at.store, size: "1M" });
    await using volume = await Volume.open("v", at);
    for (let round = 1; round <= 5; round++) {
      await volume.write(filled(round, 8), 0);
      await volume.sync();
    }
    await collectVolume(at.store, "v", { journal: at.journal });
    const { storedBytes, deadBytes } = await volumeInfo(at.store, "v");
    assert(storedBytes <= 8 * BLOCK + 4096 && deadBytes! <= 4096, `${storedBytes} ${deadBytes}`);
    const found = filled(0);
    await volume.read(found, 0);
    assertEquals(found[0], 5);
    assert(volume.stats().collections! >= 1);
  });
});

Deno.test("a reader + what it reads stays as long as it reads, and then goes", async () => {
  await inFolder(async (at) => {
    await written(at, []);
    {
      await using reader = await Volume.open("v", { store: at.store, readOnly: true });
      {
        await using writer = await Volume.open("v", at);
        await writer.write(filled(5, 8), 0);
      }
      assertEquals((await collectVolume(at.store, "v")).chunks, 0);
      const found = filled(0);
      await reader.read(found, 0);
      assertEquals(found[0], 99);
    }
    assertEquals((await collectVolume(at.store, "v")).chunks, 1);
    await using store = await openStore(at.store);
    assertEquals((await readCatalog(store, NAMES))?.catalog.entries, []);
  });
});

// Whoever read for more than a day lost what he read to the next collection.
Deno.test("a reader + its entry is renewed while it reads, also after the store was away", async () => {
  const HOUR_MS = 3600 * 1000;
  const store = new FaultyStore(new MemoryStore());
  await Volume.create("v", { store, size: "1M" });
  let now = 0;
  let pause: { ms: number; call: () => void } | undefined = undefined;
  const timer = (ms: number, call: () => void) => {
    pause = { ms, call };
    return () => pause = undefined;
  };
  const kept = await keptState(
    store,
    { volume: "v" },
    "a test",
    { ...MACHINE, now: () => now },
    timer,
  );
  const times = async () => {
    return (await readCatalog(store, NAMES))!.catalog.entries.map(({ time }) => time);
  };
  assertEquals(await times(), [0]);
  const pass = async () => {
    const { ms, call } = pause!;
    pause = undefined;
    assert(ms <= 4 * HOUR_MS);
    now += ms;
    call();
    while (pause === undefined) await new Promise((resolve) => setTimeout(resolve, 1));
  };
  await pass();
  assertEquals(await times(), [now]);
  const before = now;
  store.faults = () => "unavailable";
  await pass();
  store.faults = undefined;
  assertEquals(await times(), [before]);
  await pass();
  assertEquals(await times(), [now]);
  await kept.release();
  assertEquals([await times(), pause], [[], undefined]);
});

Deno.test("a reader of a store that takes nothing more + reads, and is warned", async () => {
  await inFolder(async (at) => {
    const store = new FaultyStore(new MemoryStore());
    await Volume.create("v", { store, size: "1M" });
    {
      await using volume = await Volume.open("v", { ...at, store });
      await volume.write(filled(4), 0);
    }
    store.faults = ({ name }) => name === "get" || name === "list" ? undefined : "full";
    const lines: string[] = [];
    await using volume = await Volume.open("v", {
      ...{ store, readOnly: true },
      report: (line) => lines.push(line),
    });
    const found = filled(0);
    await volume.read(found, 0);
    assertEquals([found[0], lines.length], [4, 1]);
  });
});

Deno.test("rollbackVolume + it is what it was, and can be written to; snapshots stay", async () => {
  await inFolder(async (at) => {
    await written(at, [1, 2]);
    await rollbackVolume(at.store, "v", "s1");
    assertEquals(await firstByte(at.store, "v"), 1);
    await removeSnapshot(at.store, "v", "s1");
    await collectVolume(at.store, "v");
    assertEquals([await firstByte(at.store, "v"), await firstByte(at.store, "v@s2")], [1, 2]);
    {
      await using volume = await Volume.open("v", at);
      await volume.write(filled(8), BLOCK);
      await volume.sync();
      assertEquals(await codeOf(() => rollbackVolume(at.store, "v", "s2")), "VOLUME_BUSY");
    }
    assertEquals([await firstByte(at.store, "v"), await firstByte(at.store, "v", 1)], [1, 8]);
    assertEquals((await checkVolume(at.store, "v")).findings, []);
    assertEquals(await codeOf(() => rollbackVolume(at.store, "v", "no")), "VOLUME_NOT_FOUND");
  });
});

Deno.test("removeVolume + its snapshots go too; a new volume of that name has new numbers", async () => {
  await inFolder(async (at) => {
    await written(at, [1]);
    await removeVolume(at.store, "v", { journal: at.journal });
    assertEquals(await codeOf(() => firstByte(at.store, "v@s1")), "VOLUME_NOT_FOUND");
    await Volume.create("v", { store: at.store, size: "1M" });
    assertEquals(await listSnapshots(at.store, "v"), []);
    {
      await using volume = await Volume.open("v", at);
      await volume.write(filled(3), 0);
    }
    await using store = await openStore(at.store);
    // Whoever still deletes chunks of the old one deletes none of these.
    assertEquals(await store.get(NAMES.chunk(1)), undefined);
    assertEquals(await store.get(NAMES.chunk(2)), undefined);
    assert(await store.get(NAMES.chunk(3)) !== undefined);
  });
});

Deno.test("a catalog + an answer that was lost is no reason to do it twice, or not at all", async () => {
  for (const fault of ["lost answer", "lost race", "unavailable"] as const) {
    const store = new FaultyStore(new MemoryStore());
    await Volume.create("v", { store, size: "1M" });
    let calls = 0;
    store.faults = ({ object, name }) =>
      object === NAMES.catalog && name !== "get" && calls++ < 2 ? fault : undefined;
    await createSnapshot(store, "v", "s", { patienceMs: 10_000 });
    assertEquals((await listSnapshots(store, "v")).map(({ name }) => name), ["s"], fault);
    calls = 0;
    await removeSnapshot(store, "v", "s", { patienceMs: 10_000 });
    assertEquals(await listSnapshots(store, "v"), [], fault);
    calls = 0;
    await assertRejects(
      () => {
        store.faults = () => "unavailable";
        return createSnapshot(store, "v", "s", { patienceMs: 0 });
      },
      StoreError,
    );
  }
});

/** A store that lets something happen before a catalog is read. */
class HookedStore extends MemoryStore {
  hook: (() => Promise<void>) | undefined = undefined;

  override async get(...call: Parameters<MemoryStore["get"]>): ReturnType<MemoryStore["get"]> {
    const { hook } = this;
    if (call[0] === NAMES.catalog && hook !== undefined) {
      this.hook = undefined;
      await hook();
    }
    return await super.get(...call);
  }
}

Deno.test("createSnapshot + garbage is collected between its two calls + it names a newer state", async () => {
  await inFolder(async (at) => {
    const store = new HookedStore();
    await Volume.create("v", { store, size: "1M" });
    const overwrite = async (byte: number) => {
      await using volume = await Volume.open("v", { ...at, store });
      await volume.write(filled(byte, 8), 0);
    };
    await overwrite(1);
    store.hook = async () => {
      await overwrite(2);
      assertEquals((await collectVolume(store, "v")).chunks, 1);
    };
    await createSnapshot(store, "v", "s");
    await overwrite(3);
    assertEquals(await firstByte(store, "v@s"), 2);
    assertEquals((await checkVolume(store, "v")).findings, []);
  });
});
