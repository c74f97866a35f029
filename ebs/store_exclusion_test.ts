import { assert, assertEquals } from "@std/assert";
import { MemoryStore } from "../store/memory.ts";
import type { StoredObject } from "../store/store.ts";
import { ruleThread } from "../tests/ebs/thread_time.ts";
import { VirtualTime } from "../tests/ebs/virtual_time.ts";
import { Dice } from "../uapi/dice.ts";
import { briefClaim, Committed } from "../volume/committed.ts";
import { createVolume } from "../volume/create.ts";
import { resizeVolume } from "../volume/resize.ts";
import { MACHINE } from "../volume/seam.ts";
import { StoreExclusion } from "./store_exclusion.ts";

const LOOK_MS = 15_000;
const VOLUMES = 150;

/** A store that counts what is read. */
class Counting extends MemoryStore {
  reads = 0;

  override get(...terms: Parameters<MemoryStore["get"]>): Promise<StoredObject | undefined> {
    this.reads++;
    return super.get(...terms);
  }
}

// Regression: the looks at all of them were requests of the same moment, four times a minute.
Deno.test("StoreExclusion + volumes that are claimed together + are looked at one after the other", async () => {
  const dice = new Dice(1);
  const time = new VirtualTime(10);
  await using store = new Counting();
  const volumes = Array.from({ length: VOLUMES }, (_, nth) => `v${nth}`);
  for (const volume of volumes) {
    await createVolume(store, volume, { size: 4096, blockSize: 4096, chunkSize: 1 << 20 }, MACHINE);
  }
  using _ = ruleThread(time, () => dice.draw(1000) / 1000);
  const exclusion = new StoreExclusion(store, "one", LOOK_MS);
  const claims = await Promise.all(volumes.map((volume) => exclusion.claim(volume)));
  for (let round = 0; round < 4; round++) {
    const before = store.reads;
    let most = 0;
    for (let second = 0; second < LOOK_MS / 1000; second++) {
      const reads = store.reads;
      await time.pass(1000);
      most = Math.max(most, store.reads - reads);
    }
    assertEquals(store.reads - before, VOLUMES, "each is looked at once");
    assert(most <= 3 * VOLUMES / (LOOK_MS / 1000), `${most} looks in a second`);
  }
  for (const claim of claims) await claim.release();
});

// Regression: the epoch of the hold was guessed from the one before it. Whoever raised it in between
// ended a mount that nobody had taken.
Deno.test("StoreExclusion + the epoch rises before the volume is open + only a taker ends the claim", async () => {
  const time = new VirtualTime(10);
  await using store = new MemoryStore();
  await createVolume(store, "v", { size: 4096, blockSize: 4096, chunkSize: 1 << 20 }, MACHINE);
  using _ = ruleThread(time, () => 0.5);
  const exclusion = new StoreExclusion(store, "one", LOOK_MS);
  const claim = await exclusion.claim("v");
  let lost: string | undefined;
  void claim.lost.then((reason) => lost = reason);
  await resizeVolume(store, "v", 8192, MACHINE);
  const hold = (journal: string) =>
    Committed.claim(store, "v", briefClaim(MACHINE, "test"), () => journal);
  // It may be looked at while it is being opened.
  await time.pass(LOOK_MS);
  const { epoch } = await hold("11".repeat(16));
  claim.opened!(epoch);
  await time.pass(2 * LOOK_MS);
  assertEquals(lost, undefined);
  const taken = await hold("22".repeat(16));
  await time.pass(LOOK_MS);
  assertEquals(lost, `it was taken over (epoch ${taken.epoch})`);
  await claim.release();
});
