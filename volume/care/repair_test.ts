import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { eachSeed } from "../../tests/seeds.ts";
import { aged, BLOCK, BLOCKS, contentsOf, FragileStore, NAME } from "../../tests/volumes/aged.ts";
import { Dice } from "../../uapi/dice.ts";
import { UblkError } from "../../uapi/error.ts";
import { checkVolume } from "../check.ts";
import { readHead, readManifest } from "../committed.ts";
import { ObjectNames } from "../names.ts";
import { createSnapshot } from "../snapshots.ts";
import { collectVolume } from "../space/collect_volume.ts";
import { Volume } from "../volume.ts";
import { repairVolume } from "./repair.ts";

const NAMES = new ObjectNames(NAME);

async function headOf(store: FragileStore) {
  const { head } = (await readHead(store, NAMES))!;
  return { head, manifest: await readManifest(store, NAMES, head) };
}

/** Deletes an object, or flips a bit of it. */
async function destroy(dice: Dice, store: FragileStore, name: string): Promise<void> {
  if (dice.draw(2) === 0) return await store.delete(name);
  const { bytes } = (await store.get(name))!;
  await store.flip(name, dice.draw(bytes.length), 1 << dice.draw(8));
}

/** Damages some of what says where data is. @returns Whether the map cannot be read now. */
async function damage(dice: Dice, store: FragileStore): Promise<boolean> {
  const { head, manifest } = await headOf(store);
  let isBroken = false;
  const kind = dice.draw(6);
  if (kind <= 2) {
    const runs = manifest.runs.map(({ number }) => NAMES.run(number));
    const some = runs.filter((_, nth) => nth === 0 || dice.draw(3) === 0);
    for (const name of some) await destroy(dice, store, name);
    isBroken = some.length > 0;
  }
  if (kind === 1 || kind === 3) {
    await destroy(dice, store, NAMES.manifest(head.manifest));
    isBroken = true;
  }
  if (kind === 4) {
    for (const name of await store.names(NAMES.manifests)) await destroy(dice, store, name);
    isBroken = true;
  }
  if (kind === 5 || kind === 2) {
    await destroy(dice, store, NAMES.head);
    isBroken = true;
  }
  return isBroken;
}

Deno.test("repairVolume + head, manifests and runs that are destroyed come back from chunks", async (t) => {
  await eachSeed(t, 60, async (seed) => {
    const dice = new Dice(seed);
    await using store = new FragileStore();
    await aged(dice, store);
    const expected = await contentsOf(store);
    const { head } = await headOf(store);
    const isBroken = await damage(dice, store);
    const { repaired, lostBytes } = await repairVolume(store, NAME, { size: BLOCKS * BLOCK });
    assertEquals([repaired, lostBytes], [isBroken, 0]);
    assertEquals(await contentsOf(store), expected);
    assertEquals((await checkVolume(store, NAME)).findings, []);
    const now = await headOf(store);
    assert(!isBroken || now.head.epoch > head.epoch && now.head.manifest > head.manifest);
    assert(now.manifest.sequence === (await sequenceOf(store)));
  });
});

/** The last batch that a chunk of the newest epoch has. */
async function sequenceOf(store: FragileStore): Promise<number> {
  let [epoch, last] = [0, 0];
  for (const name of await store.names(NAMES.chunks)) {
    const { bytes } = (await store.get(name))!;
    const view = new DataView(bytes.buffer);
    const found = [Number(view.getBigUint64(40, true)), Number(view.getBigUint64(56, true))];
    if (found[0] > epoch || found[0] === epoch && found[1] > last) [epoch, last] = found;
  }
  return last;
}
