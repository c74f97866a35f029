import { assertEquals, assertRejects } from "@std/assert";
import { FaultyStore } from "../../store/faulty.ts";
import { MemoryStore } from "../../store/memory.ts";
import type { Store } from "../../store/store.ts";
import { inFolder, type VolumeFolders } from "../../tests/volumes/folders.ts";
import { UblkError } from "../../uapi/error.ts";
import { createSnapshot, listSnapshots, removeSnapshot } from "../snapshots.ts";
import { waitForSnapshot } from "../wait_for_snapshot.ts";
import { Volume } from "../volume.ts";
import { askServer } from "./door.ts";
import { MOST_MARKS } from "./file.ts";

const BLOCK = 4096;

async function codeOf(call: () => Promise<unknown>): Promise<string> {
  return (await assertRejects(call, UblkError)).code;
}

function filled(byte: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(BLOCK).fill(byte);
}

async function firstByte(store: Store, name: string): Promise<number> {
  await using volume = await Volume.open(name, { store, readOnly: true });
  const found = filled(0xee);
  await volume.read(found, 0);
  return found[0];
}

/** A volume whose store is away, as long as `isAway`. */
async function withVolume(
  run: (volume: Volume, at: Pick<VolumeFolders, "journal">, store: Away) => Promise<void>,
  options: Partial<Parameters<typeof Volume.open>[1]> = {},
): Promise<void> {
  await inFolder(async (folders) => {
    const store = new Away();
    await Volume.create("v", { store, size: "1M" });
    await using volume = await Volume.open("v", { ...folders, store, ...options });
    await run(volume, folders, store);
    store.isAway = false;
  });
}

/** A store that takes no changes while it is away. */
class Away extends FaultyStore {
  isAway = false;

  constructor(readonly inside: MemoryStore = new MemoryStore()) {
    super(inside);
    this.faults = ({ name }) => this.isAway && name !== "get" ? "unavailable" : undefined;
  }
}

Deno.test("a snapshot + is taken while the store is away, and has what was written before", async () => {
  await withVolume(async (volume, { journal }, store) => {
    store.isAway = true;
    for (const byte of [1, 2]) {
      await volume.write(filled(byte), 0);
      await createSnapshot(store, "v", `s${byte}`, { journal });
    }
    await volume.write(filled(3), 0);
    const states = async () =>
      (await listSnapshots(store, "v", { journal })).map(({ name, state }) => `${name} ${state}`);
    assertEquals(await states(), ["s1 pending", "s2 pending"]);
    assertEquals(await listSnapshots(store, "v"), []);
    assertEquals(
      await codeOf(() => createSnapshot(store, "v", "s1", { journal })),
      "VOLUME_EXISTS",
    );
    store.isAway = false;
    await waitForSnapshot(store, "v@s2", { journal });
    assertEquals(await states(), ["s1 completed", "s2 completed"]);
    assertEquals([await firstByte(store, "v@s1"), await firstByte(store, "v@s2")], [1, 2]);
    await volume.sync();
    assertEquals(await firstByte(store, "v"), 3);
  });
});

Deno.test("a snapshot + outlives its server, and the next one brings it to the store", async () => {
  await inFolder(async (at) => {
    const store = new Away();
    await Volume.create("v", { store, size: "1M" });
    {
      const volume = await Volume.open("v", { ...at, store, patienceMs: 0 });
      store.isAway = true;
      await volume.write(filled(1), 0);
      await createSnapshot(store, "v", "s", { journal: at.journal });
      await volume.write(filled(2), 0);
      assertEquals(await codeOf(() => volume.close()), "VOLUME_STORE");
    }
    const wait = () => waitForSnapshot(store, "v@s", { journal: at.journal });
    assertEquals(await codeOf(wait), "VOLUME_BUSY");
    store.isAway = false;
    // Nobody serves it, and the store lacks what the journal has.
    const again = () => createSnapshot(store, "v", "t", { journal: at.journal });
    assertEquals(await codeOf(again), "VOLUME_BUSY");
    {
      await using volume = await Volume.open("v", { ...at, store });
      await wait();
      await volume.write(filled(3), 0);
    }
    assertEquals(await firstByte(store, "v@s"), 1);
    assertEquals((await listSnapshots(store, "v", at)).map(({ state }) => state), ["completed"]);
  });
});

Deno.test("a snapshot + in the store is in it once it is taken, if flushes are", async () => {
  await withVolume(async (volume, { journal }, store) => {
    await volume.write(filled(1), 0);
    await createSnapshot(store, "v", "s", { journal });
    assertEquals(await firstByte(store, "v@s"), 1);
  }, { durability: "store" });
});

Deno.test("a snapshot + is taken once, however often its id asks for it", async () => {
  await withVolume(async (_volume, { journal }, store) => {
    store.isAway = true;
    const ask = (snapshot: string, id: string) =>
      askServer(`${journal}/v`, { snapshot, id: id.repeat(32) }, 10_000);
    assertEquals([await ask("s", "1"), await ask("s", "1")], ["taken", "taken"]);
    assertEquals(await ask("s", "2"), "exists");
    assertEquals((await listSnapshots(store, "v", { journal })).length, 1);
    assertEquals(await askServer(`${journal}/v`, { snapshot: "s" }, 10_000), "cut");
    assertEquals(await askServer(`${journal}/w`, { all: true }, 10_000), "nobody");
  });
});

Deno.test("a snapshot + another of its name came first + it has a name all the same", async () => {
  await withVolume(async (volume, { journal }, store) => {
    await volume.write(filled(1), 0);
    await volume.sync();
    store.isAway = true;
    await volume.write(filled(2), 0);
    await createSnapshot(store, "v", "s", { journal });
    // As from another machine, of what the store has.
    await createSnapshot(store.inside, "v", "s");
    store.isAway = false;
    await volume.sync();
    const names = (await listSnapshots(store, "v")).map(({ name }) => name).sort();
    const bytes = await Promise.all(names.map((name) => firstByte(store, `v@${name}`)));
    assertEquals([names, bytes], [["s", "s-2"], [1, 2]]);
  });
});

Deno.test("snapshots + wait for the store + so many, and no more", async () => {
  await withVolume(async (_volume, { journal }, store) => {
    store.isAway = true;
    for (let nth = 0; nth < MOST_MARKS; nth++) {
      await createSnapshot(store, "v", `s${nth}`, { journal });
    }
    assertEquals(await codeOf(() => createSnapshot(store, "v", "t", { journal })), "VOLUME_BUSY");
    store.isAway = false;
    await waitForSnapshot(store, `v@s${MOST_MARKS - 1}`, { journal });
    await createSnapshot(store, "v", "t", { journal, wait: true });
    await removeSnapshot(store, "v", "s0");
    assertEquals((await listSnapshots(store, "v", { journal })).length, MOST_MARKS);
  });
});

Deno.test("the socket + names that are none, and clients that say nothing + take no snapshot, and hold up nobody", async () => {
  await inFolder(async (folders) => {
    const store = new MemoryStore();
    await Volume.create("v", { store, size: "1M" });
    const volume = await Volume.open("v", { ...folders, store });
    const folder = `${folders.journal}/v`;
    const id = "ab".repeat(16);
    using silent = await Deno.connect({ transport: "unix", path: `${folder}/asked` });
    for (const snapshot of ["", "a@b", "a/b", "x".repeat(200)]) {
      assertEquals(await askServer(folder, { snapshot, id }, 10_000), "cut", snapshot);
    }
    await createSnapshot(store, "v", "good", { journal: folders.journal, wait: true });
    await volume.close();
    // The server has hung up on whoever had asked nothing.
    assertEquals(await silent.read(new Uint8Array(1)), null);
    const snapshots = await listSnapshots(store, "v");
    assertEquals(snapshots.map(({ name }) => name), ["good"]);
  });
});

Deno.test("the socket + of a volume that is opened again in the same process + is there", async () => {
  await inFolder(async (folders) => {
    const store = new MemoryStore();
    await Volume.create("v", { store, size: "1M" });
    for (let nth = 0; nth < 3; nth++) {
      await using _volume = await Volume.open("v", { ...folders, store });
      for (let times = 0; times < 3; times++) {
        assertEquals(await askServer(`${folders.journal}/v`, { all: true }, 10_000), "asked 0");
      }
    }
    assertEquals(await askServer(`${folders.journal}/v`, { all: true }, 10_000), "nobody");
    const names = [...Deno.readDirSync(`${folders.journal}/v`)].map(({ name }) => name);
    assertEquals(names.filter((name) => name.startsWith("ask")), []);
  });
});
