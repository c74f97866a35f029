import { assert, assertEquals, assertRejects } from "@std/assert";
import { FaultyStore } from "../../store/faulty.ts";
import { MemoryStore } from "../../store/memory.ts";
import { inFolder, type VolumeFolders } from "../../tests/volumes/folders.ts";
import { copyVolume } from "../care/copy.ts";
import { changeCatalog } from "../catalog.ts";
import { checkVolume } from "../check.ts";
import { cloneVolume } from "../clone.ts";
import { briefClaim, Committed } from "../committed.ts";
import { readHead } from "../state.ts";
import { NO_UUID } from "../format/record.ts";
import { ObjectNames } from "../names.ts";
import { MACHINE } from "../seam.ts";
import { removeVolume, volumeInfo } from "../list.ts";
import { Volume } from "../volume.ts";
import { collectVolume } from "./collect_volume.ts";

const BLOCK = 4096;
const NAMES = new ObjectNames("c");

async function overwrite(at: VolumeFolders, store: MemoryStore, name: string): Promise<void> {
  await using volume = await Volume.open(name, { ...at, store });
  await volume.write(crypto.getRandomValues(new Uint8Array(8 * BLOCK)), 0);
}

async function cloned(at: VolumeFolders): Promise<MemoryStore> {
  const store = new MemoryStore();
  await Volume.create("v", { store, size: "1M" });
  await overwrite(at, store, "v");
  await cloneVolume(store, "v", "c");
  return store;
}

/** The clones that a volume keeps something for, after a look at them. */
async function clonesOf(store: MemoryStore): Promise<readonly string[]> {
  await collectVolume(store, "v");
  return (await volumeInfo(store, "v")).clones;
}

async function raise(store: MemoryStore, by: "floor" | "least", number: number): Promise<void> {
  const { volume } = (await readHead(store, NAMES))!.head;
  await changeCatalog({ store, names: NAMES, volume, seam: MACHINE }, (catalog) => {
    return { ...catalog, [by]: number };
  });
}

Deno.test("a clone that shares nothing + its source lets go once no older state can get a name", async () => {
  await inFolder(async (at) => {
    const store = await cloned(at);
    const claim = briefClaim(MACHINE, "a test");
    const committed = await Committed.claim(store, "c", claim, () => NO_UUID);
    await committed.commit({ runs: [], ancestors: [] });
    const { manifest } = committed.head;
    await committed.commit({});
    await committed.release();
    // A snapshot may be about to be made of the manifest before.
    assertEquals(await clonesOf(store), ["c"]);
    await raise(store, "floor", manifest - 1);
    assertEquals(await clonesOf(store), ["c"]);
    await raise(store, "floor", manifest);
    // A rollback may be about to be committed.
    await raise(store, "least", manifest + 2);
    assertEquals(await clonesOf(store), ["c"]);
    await raise(store, "least", manifest + 1);
    assertEquals(await clonesOf(store), []);
  });
});

Deno.test("a clone whose head or manifest is lost + its source keeps everything until it is removed", async () => {
  for (const lost of ["c/head", "c/manifests/0000000000000001"]) {
    for (const hasCatalog of [false, true]) {
      await inFolder(async (at) => {
        const store = await cloned(at);
        if (hasCatalog) await raise(store, "floor", 1);
        await store.delete(lost);
        assertEquals(await clonesOf(store), ["c"], `${lost} ${hasCatalog}`);
        await removeVolume(store, "c", { force: true });
        assertEquals(await clonesOf(store), [], `${lost} ${hasCatalog}`);
      });
    }
  }
});

Deno.test("cloneVolume + a lost answer, and its source is overwritten and collected + it is whole", async () => {
  await inFolder(async (at) => {
    const inner = new MemoryStore();
    await Volume.create("v", { store: inner, size: "1M" });
    await overwrite(at, inner, "v");
    let isOver = false;
    const store = new FaultyStore(inner, {
      faults: ({ name, object }) =>
        !isOver && name !== "get" && object === "v/catalog" ? "lost answer" : undefined,
      pause: async ({ name, object }, when) => {
        if (isOver || name === "get" || object !== "v/catalog" || when === "before") return;
        isOver = true;
        await overwrite(at, inner, "v");
        await collectVolume(inner, "v");
      },
    });
    await cloneVolume(store, "v", "c");
    await overwrite(at, inner, "v");
    await collectVolume(inner, "v");
    assertEquals((await checkVolume(inner, "c")).findings, []);
  });
});

Deno.test("a clone that comes back as a copy has everything itself + its source lets go of it", async () => {
  await inFolder(async (at) => {
    const store = await cloned(at);
    const other = new MemoryStore();
    await copyVolume(store, "c", other);
    // The store loses the clone, and gets it back.
    for await (const { name } of store.list("c/")) await store.delete(name);
    await copyVolume(other, "c", store);
    assertEquals(await clonesOf(store), []);
    assertEquals((await checkVolume(store, "c")).findings, []);
  });
});

Deno.test("a clone whose head is lost + under a name that had another volume + its source keeps everything", async () => {
  await inFolder(async (at) => {
    const store = new MemoryStore();
    for (const name of ["v", "c"]) await Volume.create(name, { store, size: "1M" });
    await overwrite(at, store, "v");
    await removeVolume(store, "c");
    await cloneVolume(store, "v", "c");
    await store.delete("c/head");
    assertEquals(await clonesOf(store), ["c"]);
    await removeVolume(store, "c");
    assertEquals(await clonesOf(store), []);
  });
});

Deno.test("a clone whose making was interrupted, and begun again + is removed + its removed source leaves nothing", async () => {
  await inFolder(async (at) => {
    let heads = 0;
    const store = new class extends MemoryStore {
      override replace(...args: Parameters<MemoryStore["replace"]>) {
        // The first head of the clone replaces the one that holds its name.
        if (args[0] === NAMES.head && heads++ === 0) throw new Error("the power fails");
        return super.replace(...args);
      }
    }();
    await Volume.create("v", { store, size: "1M" });
    await overwrite(at, store, "v");
    await assertRejects(() => cloneVolume(store, "v", "c"), Error, "the power fails");
    await cloneVolume(store, "v", "c");
    await removeVolume(store, "v");
    assertEquals((await checkVolume(store, "c")).findings, []);
    await removeVolume(store, "c");
    const left: string[] = [];
    for (const name of ["v", "c"]) {
      for await (const object of store.list(`${name}/`)) left.push(object.name);
    }
    assertEquals(left, ["v/catalog", "c/catalog"]);
  });
});

// Each attempt to change the catalog looked at all clones again, one after the other. So a source with many,
// of which others were made meanwhile, was never done.
Deno.test("many clones, and others are made meanwhile + each is looked at once, a few at a time", async () => {
  const works: [string, (store: FaultyStore) => Promise<unknown>][] = [
    ["a collection", (store) => collectVolume(store, "v")],
    ["a clone's removal", (store) => removeVolume(store, "c0")],
  ];
  for (const [what, work] of works) {
    await inFolder(async (at) => {
      const inner = new MemoryStore();
      await Volume.create("v", { store: inner, size: "1M" });
      await overwrite(at, inner, "v");
      for (let nth = 0; nth < 20; nth++) await cloneVolume(inner, "v", `c${nth}`);
      let [made, under, most] = [0, 0, 0];
      const looks = new Map<string, number>();
      const store = new FaultyStore(inner, {
        pause: async ({ name, object }, when) => {
          if (name === "replace" && object === "v/catalog" && when === "before" && made < 5) {
            await cloneVolume(inner, "v", `other${made++}`);
          }
          if (name !== "get" || !/^c\d+\/catalog$/.test(object)) return;
          if (when === "before") looks.set(object, (looks.get(object) ?? 0) + 1);
          under += when === "before" ? 1 : -1;
          most = Math.max(most, under);
          await new Promise((resolve) => setTimeout(resolve, 1));
        },
      });
      await work(store);
      assertEquals(made, 5, what);
      looks.delete("c0/catalog");
      assertEquals([looks.size, new Set(looks.values())], [19, new Set([1])], what);
      assert(most > 1 && most <= 8, `${what}: ${most} at a time`);
      const { clones } = await volumeInfo(inner, "v");
      assertEquals(clones.length, what === "a collection" ? 25 : 24, what);
    });
  }
});
