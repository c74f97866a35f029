import { assert, assertEquals, assertRejects } from "@std/assert";
import { inFolder } from "../tests/volumes/folders.ts";
import { FaultyStore } from "../store/faulty.ts";
import { MemoryStore } from "../store/memory.ts";
import { StoreError } from "../store/store.ts";
import { UblkError } from "../uapi/error.ts";
import { checkVolume } from "./check.ts";
import { listVolumes, removeVolume, volumeInfo } from "./list.ts";
import { briefClaim, Committed } from "./committed.ts";
import { createVolume } from "./create.ts";
import { NO_UUID } from "./format/record.ts";
import { ObjectNames } from "./names.ts";
import { beginRemoval, endRemoval, headNow, removableHead } from "./remove_head.ts";
import { MACHINE } from "./seam.ts";
import { createSnapshot, listSnapshots } from "./snapshots.ts";
import { Volume } from "./volume.ts";

const BLOCK = 4096;
const SHAPE = { size: 1 << 20, blockSize: BLOCK, chunkSize: 1 << 20 };

async function codeOf(call: () => Promise<unknown>): Promise<string> {
  return (await assertRejects(call, UblkError)).code;
}

Deno.test("listVolumes, volumeInfo + the names in a store, and what is known of each", async () => {
  await inFolder(async (at) => {
    await Volume.create("b", { store: at.store, size: "1G" });
    await Volume.create("a", { store: at.store, size: "1M", blockSize: 512 });
    assertEquals(await listVolumes(at.store), ["a", "b"]);
    assertEquals(await codeOf(() => volumeInfo(at.store, "c")), "VOLUME_NOT_FOUND");
    const volume = await Volume.open("b", at);
    await volume.write(new Uint8Array(4 * BLOCK).fill(1), 0);
    await volume.write(new Uint8Array(BLOCK).fill(2), 0);
    await volume.sync();
    const open = await volumeInfo(at.store, "b");
    assert(open.attachedBy?.includes(String(Deno.pid)));
    assertEquals([open.size, open.blockSize, open.epoch], [1 << 30, 4096, 1]);
    assertEquals([open.mappedBytes, open.writtenBytes], [4 * BLOCK, 5 * BLOCK]);
    assert(open.storedBytes >= 4 * BLOCK && open.committed >= open.created);
    await volume.close();
    assertEquals((await volumeInfo(at.store, "b")).attachedBy, undefined);
  });
});

Deno.test("removeVolume + a change that was killed, or is under way + is no reason to refuse it", async () => {
  const store = new MemoryStore();
  await Volume.create("v", { store, size: "1M" });
  const claim = briefClaim(MACHINE, "a collection");
  const left = await Committed.claim(store, "v", claim, () => NO_UUID);
  assertEquals((await volumeInfo(store, "v")).attachedBy, "a collection");
  await removeVolume(store, "v");
  assertEquals(await listVolumes(store), []);
  assertEquals(await codeOf(() => left.commit({})), "VOLUME_FENCED");
});

Deno.test("removeVolume + refuses one that is open, unless forced; its writer is fenced", async () => {
  await inFolder(async (at) => {
    const store = new MemoryStore();
    await Volume.create("v", { store, size: "1M" });
    const volume = await Volume.open("v", { ...at, store });
    await volume.write(new Uint8Array(BLOCK).fill(1), 0);
    await volume.sync();
    assertEquals(await codeOf(() => removeVolume(store, "v")), "VOLUME_BUSY");
    await removeVolume(store, "v", { force: true });
    assertEquals(await listVolumes(store), []);
    await volume.write(new Uint8Array(BLOCK).fill(2), 0);
    assertEquals(await codeOf(() => volume.sync()), "VOLUME_FENCED");
    assertEquals(await codeOf(() => volume.close()), "VOLUME_FENCED");
  });
});

Deno.test("removeVolume + interrupted anywhere it leaves a volume or none, and is finished later", async () => {
  for (let failing = 1;; failing++) {
    const store = new FaultyStore(new MemoryStore());
    let deletes = 0;
    await inFolder(async (at) => {
      await Volume.create("v", { store, size: "1M" });
      {
        await using volume = await Volume.open("v", { ...at, store });
        await volume.write(new Uint8Array(BLOCK).fill(1), 0);
      }
      store.faults = ({ name }) => {
        return name === "delete" && ++deletes === failing ? "unavailable" : undefined;
      };
      await removeVolume(store, "v", { journal: at.journal }).catch(() => {});
      store.faults = undefined;
      if (deletes < failing) return assertEquals(await listVolumes(store), []);
      assertEquals(await listVolumes(store), []);
      if (failing === 1) {
        // Its head is there, and holds the name.
        const open = () => Volume.open("v", { ...at, store });
        assertEquals(await codeOf(open), "VOLUME_NOT_FOUND");
        const create = () => Volume.create("v", { store, size: "1M" });
        await assertRejects(create, UblkError, "is being removed");
      } else {
        // A new one of that name is in nobody's way.
        await Volume.create("v", { store, size: "1M" });
        {
          await using volume = await Volume.open("v", { ...at, store });
          const block = new Uint8Array(BLOCK).fill(9);
          await volume.read(block, 0);
          assertEquals(block[0], 0);
          await volume.write(block.fill(3), 0);
        }
        await using volume = await Volume.open("v", { ...at, store, readOnly: true });
        const block = new Uint8Array(BLOCK);
        await volume.read(block, 0);
        assertEquals(block[0], 3);
      }
      await removeVolume(store, "v", { journal: at.journal });
      const left = [];
      for await (const { name } of store.list("")) left.push(name);
      // The mark for the next volume of that name.
      assertEquals(left, ["v/catalog"]);
      assertEquals(await codeOf(() => removeVolume(store, "v")), "VOLUME_NOT_FOUND");
    });
    if (deletes < failing) break;
  }
});

Deno.test("removeVolume + the volume is being created + it is gone, or was never touched", async () => {
  // The removal takes place before each call of the store that the creation makes.
  for (let at = 1;; at++) {
    const inner = new MemoryStore();
    const store = Object.create(inner) as MemoryStore;
    let calls = 0;
    for (const name of ["get", "putIfAbsent", "replace"] as const) {
      const call = inner[name].bind(inner) as (...args: unknown[]) => Promise<never>;
      store[name] = async (...args: unknown[]) => {
        if (++calls === at) await removeVolume(inner, "v").catch(() => {});
        return await call(...args);
      };
    }
    const error = await createVolume(store, "v", SHAPE, MACHINE).then(() => "", (error) => error);
    if (calls < at) break;
    const isThere = (await listVolumes(inner)).includes("v");
    assertEquals(isThere ? error : error.code, isThere ? "" : "VOLUME_FENCED", `call ${at}`);
    if (!isThere) await Volume.create("v", { store: inner, size: "1M" });
    await using volume = await Volume.open("v", { store: inner, readOnly: true });
    assertEquals(volume.size, SHAPE.size);
  }
});

Deno.test("removeVolume + an answer that is lost, and a request that arrives late + spares the next volume", async () => {
  const inner = new MemoryStore();
  const store = new FaultyStore(inner);
  await Volume.create("v", { store, size: "1M" });
  store.faults = ({ name, object }) => {
    if (name !== "delete" || object !== "v/head") return undefined;
    store.faults = undefined;
    return "late";
  };
  await assertRejects(() => removeVolume(store, "v"), StoreError, "it may be done later");
  await removeVolume(inner, "v");
  await Volume.create("v", { store: inner, size: "2M" });
  await store.arrive();
  assertEquals((await volumeInfo(inner, "v")).size, 2 << 20);
});

/** Runs something before each call of a kind for an object. */
class SeenStore extends MemoryStore {
  before: (call: "delete" | "list" | "replace", name: string) => Promise<unknown> = () =>
    Promise.resolve();

  override async delete(...args: Parameters<MemoryStore["delete"]>) {
    await this.before("delete", args[0]);
    return await super.delete(...args);
  }

  override async *list(...args: Parameters<MemoryStore["list"]>) {
    await this.before("list", args[0]);
    yield* super.list(...args);
  }

  override async replace(...args: Parameters<MemoryStore["replace"]>) {
    await this.before("replace", args[0]);
    return await super.replace(...args);
  }
}

Deno.test("removeVolume + the volume is attached meanwhile + refuses it and changes nothing, unless forced", async () => {
  await inFolder(async ({ journal, journalSize }) => {
    const store = new SeenStore();
    await Volume.create("v", { store, size: "1M" });
    await createSnapshot(store, "v", "old", { journal });
    let volume: Volume | undefined = undefined;
    store.before = async (call, name) => {
      if (call !== "replace" || name !== "v/head" || volume !== undefined) return;
      store.before = () => Promise.resolve();
      volume = await Volume.open("v", { store, journal, journalSize });
    };
    assertEquals(await codeOf(() => removeVolume(store, "v")), "VOLUME_BUSY");
    // Its writes were once answered, and the next commit found no volume. Then that was refused, but
    // snapshots were gone, and the next one stopped the drain.
    await volume!.write(new Uint8Array(BLOCK).fill(1), 0);
    await createSnapshot(store, "v", "new", { journal });
    await volume!.sync();
    const snapshots = await listSnapshots(store, "v");
    assertEquals(snapshots.map(({ name }) => name).sort(), ["new", "old"]);
    let commits = 0;
    store.before = async (call, name) => {
      if (call !== "list" || name !== "v/" || commits++ > 0) return;
      await volume!.write(new Uint8Array(BLOCK).fill(commits), BLOCK);
      assertEquals(await codeOf(() => volume!.sync()), "VOLUME_FENCED");
    };
    await removeVolume(store, "v", { force: true });
    assertEquals(await listVolumes(store), []);
    await assertRejects(() => volume!.close(), UblkError);
  });
});

for (
  const [call, object] of [["replace", "v/head"], ["list", "v/"], ["replace", "v/catalog"], [
    "delete",
    "v/head",
  ]] as const
) {
  Deno.test(`removeVolume + before its ${call} of ${object} another call removes it, and one is made again + spares that`, async () => {
    await inFolder(async (at) => {
      const store = new SeenStore();
      await Volume.create("v", { store, size: "1M" });
      // It has a catalog.
      await createSnapshot(store, "v", "s", at);
      let hasRun = false;
      store.before = async (what, name) => {
        if (what !== call || name !== object || hasRun) return;
        hasRun = true;
        await removeVolume(store, "v");
        await Volume.create("v", { store, size: "2M" });
        await using volume = await Volume.open("v", { ...at, store });
        await volume.write(new Uint8Array(BLOCK).fill(1), 0);
        await createSnapshot(store, "v", "mine", at);
      };
      await removeVolume(store, "v").catch((error) => assertEquals(error.code, "VOLUME_NOT_FOUND"));
      assertEquals(hasRun, true);
      assertEquals((await volumeInfo(store, "v")).size, 2 << 20);
      assertEquals((await checkVolume(store, "v")).findings, []);
      const snapshots = await listSnapshots(store, "v");
      assertEquals(snapshots.map(({ name }) => name), ["mine"]);
    });
  });
}

Deno.test("removeVolume + begun by a call that spares snapshots, and one is there + that is over, and the volume is back", async () => {
  await inFolder(async ({ journal }) => {
    const store = new FaultyStore(new MemoryStore());
    await Volume.create("v", { store, size: "1M" });
    await createSnapshot(store, "v", "s", { journal });
    const names = new ObjectNames("v");
    const found = (await removableHead(store, names, false))!;
    const terms = { force: false, spareSnapshots: true, seam: MACHINE };
    // As if it had looked for snapshots before there was one, and had died.
    const begun = (await beginRemoval(store, names, found, terms))!;
    assertEquals(await listVolumes(store), []);
    assertEquals(await codeOf(() => removeVolume(store, "v", terms)), "VOLUME_BUSY");
    assertEquals((await listSnapshots(store, "v")).map(({ name }) => name), ["s"]);
    // Who does not spare them takes the head over: the other cannot bring it back.
    const again = (await removableHead(store, names, false))!;
    const first = (await beginRemoval(store, names, again, terms))!;
    const taken = (await beginRemoval(store, names, first, { ...terms, spareSnapshots: false }))!;
    for (const stale of [begun, first]) await endRemoval(store, names, stale, MACHINE);
    assertEquals(await headNow(store, names, taken), "same");
    await removeVolume(store, "v");
    assertEquals(await listVolumes(store), []);
  });
});

for (const isMarked of [false, true]) {
  const name = `removeVolume + twice at once, of what is left${isMarked ? " behind a mark" : ""}`;
  Deno.test(`${name} + spares a volume that is made meanwhile`, () => removedTwice(isMarked));
}

async function removedTwice(isMarked: boolean): Promise<void> {
  await inFolder(async ({ journal, journalSize }) => {
    const left = "v/chunks/0000000000000001";
    let before = (_name: string): Promise<unknown> => Promise.resolve();
    await using store = new class extends MemoryStore {
      override async delete(...args: Parameters<MemoryStore["delete"]>) {
        await before(args[0]);
        return await super.delete(...args);
      }
    }();
    if (isMarked) {
      await Volume.create("v", { store, size: "1M" });
      await removeVolume(store, "v");
    }
    // What is left of another one, which has lost its head.
    await store.putIfAbsent(left, new Uint8Array([1]));
    before = async (name) => {
      if (name !== left) return;
      before = () => Promise.resolve();
      await removeVolume(store, "v");
      await Volume.create("v", { store, size: "1M" });
      await using volume = await Volume.open("v", { store, journal, journalSize });
      await volume.write(new Uint8Array(4096).fill(1), 0);
    };
    await removeVolume(store, "v");
    assertEquals((await checkVolume(store, "v")).findings, []);
  });
}
