/**
 * Two processes want one volume in one folder, at the same time, again and again.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { inFolder, type VolumeFolders } from "../tests/volumes/folders.ts";
import { Party } from "../tests/volumes/racer.ts";
import { checkVolume } from "./check.ts";
import { Volume } from "./volume.ts";

const RACES = 50;
const BLOCK = 4096;
const FENCED = "VOLUME_FENCED";

Deno.test(`two processes race for a volume + ${RACES} times one of them has it, and what it wrote`, async () => {
  await inFolder(async (at) => {
    await Volume.create("v", { store: at.store, size: "1M" });
    /** Of each race, who had the volume in the end. */
    const winners: number[] = [];
    {
      await using one = partyOf(at, 1);
      await using two = partyOf(at, 2);
      const parties = [one, two];
      for (let race = 0; race < RACES; race++) {
        const opened = await Promise.all(parties.map((party) => party.order("open", race)));
        assert(opened.every((outcome) => outcome === "ok" || outcome === FENCED), `${opened}`);
        // Whoever came first learns it now, if not before.
        const wrote = await Promise.all(
          parties.map((party, nth) =>
            opened[nth] === "ok" ? party.store(race, race, 1 + nth) : FENCED
          ),
        );
        assertEquals([...wrote].sort(), [FENCED, "ok"], `race ${race}: ${opened}, ${wrote}`);
        const winner = wrote.indexOf("ok");
        winners.push(1 + winner);
        // Half of them leave it in order; the others are taken from in the next race.
        if (race % 2 === 0) assertEquals(await parties[winner].order("close", race), "ok");
        if (race % 2 === 0 && race > 0) {
          const before = winners[race - 1];
          assertEquals(await parties[before - 1].store(race - 1, race - 1, before), FENCED);
        }
      }
    }
    await checkAll(at, winners);
  });
});

Deno.test("a writer that was stopped finds out when it goes on, and changes nothing", async () => {
  await inFolder(async (at) => {
    await Volume.create("v", { store: at.store, size: "1M" });
    {
      await using first = partyOf(at, 1);
      await using second = partyOf(at, 2);
      assertEquals(await first.order("open", 0), "ok");
      assertEquals(await first.store(0, 0, 1), "ok");
      first.signal("SIGSTOP");
      const late = first.store(0, 0, 1);
      assertEquals(await second.order("open", 1), "ok");
      assertEquals(await second.store(1, 1, 2), "ok");
      first.signal("SIGCONT");
      assertEquals(await late, FENCED);
      assertEquals(await second.store(1, 1, 2), "ok");
      assertEquals(await second.order("close", 1), "ok");
    }
    await checkAll(at, [1, 2]);
  });
});

function partyOf({ store, journal: journals }: VolumeFolders, party: number): Party {
  return new Party({ store, journals, party: `${party}` });
}

/** The volume is sound, and each race's block is its winner's. */
async function checkAll({ store }: VolumeFolders, winners: readonly number[]): Promise<void> {
  assertEquals((await checkVolume(store, "v")).findings, []);
  // The last one may not have left it in order.
  await using volume = await Volume.open("v", { store, readOnly: true });
  const found = new Uint8Array(winners.length * BLOCK);
  await volume.read(found, 0);
  winners.forEach((winner, race) => {
    assertEquals(found[race * BLOCK], winner, `race ${race}`);
  });
}
