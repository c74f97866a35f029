/** No key seals twice by one count, whatever crashes, fails, or is taken over. */

import { assert } from "@std/assert";
import { eachSeed } from "../../tests/seeds.ts";
import { crashes } from "../../tests/volumes/crashes.ts";
import { brokenStore } from "../../tests/volumes/faults.ts";
import { lostJournals, twoWriters } from "../../tests/volumes/takeovers.ts";
import { ENCRYPTED } from "../../tests/volumes/world.ts";
import { watchSeals } from "./gcm.ts";

const KINDS = { crashes, brokenStore, lostJournals, twoWriters };

for (const [name, run] of Object.entries(KINDS)) {
  Deno.test(`no key seals twice by one count + ${name}`, async (t) => {
    let seals = 0;
    await eachSeed(t, 15, async (nth) => {
      const used = new Set<string>();
      watchSeals((key, count) => {
        const pair = `${key.toHex()} ${count}`;
        assert(!used.has(pair), `a key seals twice by ${count}`);
        used.add(pair);
      });
      try {
        // Only these are of encrypted volumes.
        await run(nth * ENCRYPTED);
      } finally {
        watchSeals(undefined);
      }
      seals += used.size;
    });
    assert(seals > 1000, `only ${seals} seals were seen`);
  });
}
