/**
 * Overlays. At any operation on the file, drawn from seeds, the server is killed, the machine loses
 * power, or the operation fails (`tests/crashes/`).
 *
 * `-- --seed 7` replays a seed, and `-- --seeds 20000` tries many.
 *
 * @module
 */

import { assert } from "@std/assert";
import type { Backend } from "../../disk/backend.ts";
import { type CrashedDisk, endAt } from "../../tests/crashes/life.ts";
import { initialBytes, initialIds, liveSeeds } from "../../tests/crashes/seeds.ts";
import { cow, open } from "./cow.ts";

const SECTORS = 6 * 8 + 3;
const PATH = "/over";

const initial = initialIds(SECTORS);
const base = initialBytes(SECTORS);

/** The base, which must not be written to. */
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
  closeFlushes: true,
  failsAtOnce: true,
  make() {},
  open: (files, recovering) => open(options, { inner: [inner], recovering, files }),
};

Deno.test("cow keeps what it answered, through every crash and failure of its file", async (t) => {
  await liveSeeds(t, (seed) => ({
    ...overlay,
    // Some filesystems fill up, and some lack fallocate.
    bytes: seed % 4 === 0 ? (3 + seed % 7) * 4096 : undefined,
    allocates: seed % 5 > 0,
  }));
});

for (const power of [false, true]) {
  const end = power ? "its machine without power" : "its server killed";
  Deno.test(`cow + ${end} at each operation on its file + all that must be is there`, async () => {
    for (let operation = 1;; operation++) {
      let isOver = false;
      // The first operations make the overlay, the same for every seed.
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
