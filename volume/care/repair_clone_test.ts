import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { MemoryStore } from "../../store/memory.ts";
import { inFolder } from "../../tests/volumes/folders.ts";
import { UblkError } from "../../uapi/error.ts";
import { changeCatalog } from "../catalog.ts";
import { checkVolume } from "../check.ts";
import { cloneVolume } from "../clone.ts";
import { stateOf } from "../state.ts";
import { encodeHead } from "../format/head.ts";
import { ObjectNames } from "../names.ts";
import { isOwnRun } from "../owners.ts";
import { MACHINE } from "../seam.ts";
import { Volume } from "../volume.ts";
import { copyVolume } from "./copy.ts";
import { repairVolume } from "./repair.ts";

const BLOCK = 4096;
const BLOCKS = 64;
const NAMES = new ObjectNames("c");

async function contentsOf(store: MemoryStore, name = "c"): Promise<number[]> {
  await using volume = await Volume.open(name, { store, readOnly: true });
  const found = new Uint8Array(BLOCKS * BLOCK);
  await volume.read(found, 0);
  return Array.from({ length: BLOCKS }, (_, block) => found[block * BLOCK]);
}

/** A clone, after so many commits of its source and of its own. */
async function cloned(
  commits: readonly [source: number, clone: number],
  run: (store: MemoryStore) => Promise<void>,
): Promise<void> {
  await inFolder(async (at) => {
    const store = new MemoryStore();
    await Volume.create("v", { store, size: BLOCKS * BLOCK });
    let byte = 0;
    for (const [nth, name] of ["v", "c"].entries()) {
      if (name === "c") await cloneVolume(store, "v", "c");
      await using volume = await Volume.open(name, { ...at, store });
      for (let commit = 0; commit < commits[nth]; commit++) {
        // Each overwrites a part of the one before, and cuts a hole.
        await volume.write(new Uint8Array(6 * BLOCK).fill(++byte), byte * 3 * BLOCK);
        await volume.trim((byte * 3 + 2) * BLOCK, BLOCK);
        await volume.sync();
      }
    }
    await run(store);
  });
}

async function runsOf(store: MemoryStore) {
  const { manifest } = await stateOf(store, NAMES);
  const own = manifest.runs.filter(({ number }) => isOwnRun(NAMES, manifest, number));
  return { own: own.map(({ number }) => NAMES.run(number)), all: manifest.runs.length };
}

Deno.test("repairVolume + a clone without its head, its manifests, or both", async () => {
  for (const lost of [["head"], ["manifests"], ["head", "manifests"], ["manifests", "catalog"]]) {
    await cloned([5, 3], async (store) => {
      const before = await contentsOf(store);
      for (const part of lost) {
        if (part !== "manifests") await store.delete(`c/${part}`);
        else for await (const { name } of store.list(NAMES.manifests)) await store.delete(name);
      }
      const { repaired, lostBytes } = await repairVolume(store, "c");
      assertEquals([repaired, lostBytes], [true, 0], `${lost}`);
      assertEquals(await contentsOf(store), before, `${lost}`);
      assertEquals((await checkVolume(store, "c")).findings, []);
    });
  }
});

Deno.test("repairVolume + a clone without runs of its own, of which one has its source's too", async () => {
  for (const [commits, kept] of [[[5, 2], 5], [[5, 6], 0], [[9, 1], 2], [[9, 8], 1]] as const) {
    await cloned(commits, async (store) => {
      const before = await contentsOf(store);
      const { own, all } = await runsOf(store);
      assertEquals(all - own.length, kept, `${commits}`);
      for (const name of own) await store.delete(name);
      const { losses, lostBytes } = await repairVolume(store, "c");
      assertEquals([losses, lostBytes], [[], 0], `${commits}`);
      assertEquals(await contentsOf(store), before, `${commits}`);
      assertEquals((await checkVolume(store, "c")).findings, []);
    });
  }
});

Deno.test("repairVolume + nobody knows what a clone shared + that is said", async () => {
  await cloned([5, 6], async (store) => {
    const other = new MemoryStore();
    await copyVolume(store, "c", other);
    const before = await contentsOf(other);
    await other.delete("c/head");
    assertEquals((await repairVolume(other, "c")).lostBytes, 0);
    assertEquals(await contentsOf(other), before);
    for await (const { name } of other.list(NAMES.runs)) await other.delete(name);
    const { losses } = await repairVolume(other, "c");
    assert(losses.some((line) => /^what it shares with c is lost/.test(line)), `${losses}`);
    assert(!losses.some((line) => line.includes("is damaged")), `${losses}`);
    // Its own data is all there.
    const found = await contentsOf(other);
    for (let block = 21; block < BLOCKS; block++) assertEquals(found[block], before[block]);
  });
});

Deno.test("repairVolume + data that only an ancestor has, and has lost + it is said whose", async () => {
  await cloned([2, 1], async (store) => {
    await store.delete("c/head");
    await store.delete("v/chunks/0000000000000001");
    const { losses, lostBytes } = await repairVolume(store, "c");
    assert(lostBytes > 0);
    assertMatch(losses.join("\n"), /^v\/chunks\/0000000000000001 is damaged: /m);
  });
});

Deno.test("repairVolume + an older manifest, whose ancestors have let go + that is said", async () => {
  await cloned([2, 1], async (store) => {
    const names = new ObjectNames("v");
    const { head: { volume } } = await stateOf(store, names);
    await store.delete("c/head");
    await changeCatalog({ store, names, volume, seam: MACHINE }, (catalog) => {
      return { ...catalog, entries: [] };
    });
    const { losses } = await repairVolume(store, "c");
    assertMatch(losses.join("\n"), /^v does not keep what it shares with c any more: flatten c /m);
  });
});

Deno.test("repairVolume + a clone that is being made + there is none", async () => {
  await cloned([1, 0], async (store) => {
    const { head, version } = await stateOf(store, NAMES);
    await store.replace(NAMES.head, encodeHead({ ...head, beingMade: true }), version);
    const error = await assertRejects(() => repairVolume(store, "c"), UblkError);
    assertEquals(error.code, "VOLUME_NOT_FOUND");
  });
});
