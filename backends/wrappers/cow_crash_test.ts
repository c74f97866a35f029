/**
 * Overlays whose server is killed, or whose machine loses its power, at any operation on the file,
 * and whose operations fail, drawn from seeds (`tests/crashes/`).
 *
 * `UBLK_SEEDS=7` replays a seed, and `UBLK_SEEDS=1-20000` tries many.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { Backend } from "../../disk/backend.ts";
import { type CrashedDisk, endAt, live } from "../../tests/crashes/life.ts";
import { SECTOR_BYTES } from "../../tests/fake_request.ts";
import { replayOf, seedsOf } from "../../tests/seeds.ts";
import { initialId } from "../../tests/stacks/adversary.ts";
import { contentOf } from "../../tests/stacks/history.ts";
import { cow, open } from "./cow.ts";

const SECTORS = 6 * 8 + 3;
const PATH = "/over";

const initial = Array.from({ length: SECTORS }, (_, sector) => initialId(sector));
const base = new Uint8Array(SECTORS * SECTOR_BYTES);
for (const [sector, id] of initial.entries()) base.set(contentOf(id), sector * SECTOR_BYTES);

/** The base, to which nobody writes. */
const inner: Backend = {
  size: base.length,
  readOnly: true,
  synchronous: true,
  readAt: (buffer, offset) => buffer.set(base.subarray(offset, offset + buffer.length)),
  writeAt() {
    throw new Error("the base is written to");
  },
};

const { options } = cow({ module: "" }, { file: PATH, block: 4096 });

const overlay: CrashedDisk = {
  sectors: SECTORS,
  allocates: true,
  isVolatile: false,
  knowsLoss: true,
  failureIsFinal: true,
  failsAtOnce: true,
  make() {},
  open: (files, recovering) => open(options, { inner: [inner], recovering, files }),
};

Deno.test("cow keeps what it answered, through every crash and failure of its file", async () => {
  const { first, last } = seedsOf(1000);
  const failed: string[] = [];
  for (let seed = first; seed <= last; seed++) {
    try {
      // A filesystem that fills up, and one without fallocate.
      const room = seed % 4 === 0 ? { bytes: (3 + seed % 7) * 4096 } : {};
      await live(seed, { ...overlay, ...room, allocates: seed % 5 > 0 }, initial);
    } catch (error) {
      failed.push(
        `${(error as Error).message}\n${replayOf(seed, "backends/wrappers/cow_crash_test.ts")}`,
      );
      if (failed.length < 5) console.error(failed.at(-1));
    }
  }
  assertEquals(failed.length, 0, `${failed.length} of ${last - first + 1} seeds`);
});

for (const power of [false, true]) {
  const end = power ? "its machine without power" : "its server killed";
  Deno.test(`cow + ${end} at each operation on its file + all that must be is there`, async () => {
    for (let operation = 1;; operation++) {
      let isOver = false;
      // The making of it is the same for every seed.
      const seeds = power && operation < 20 ? 60 : 6;
      for (let seed = 0; seed < seeds; seed++) {
        isOver = await endAt(operation, power, seed, overlay, initial);
      }
      if (isOver) continue;
      assert(operation > 50, `${operation} operations`);
      break;
    }
  });
}
