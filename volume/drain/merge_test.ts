import { assertEquals } from "@std/assert";
import { eachSeed } from "../../tests/seeds.ts";
import { Dice } from "../../uapi/dice.ts";
import { HOLE } from "../format/place.ts";
import { Extents } from "../format/run.ts";
import { mergeRuns, runsToMerge } from "./merge.ts";

const BLOCKS = 40;

/** A run of random entries. */
function drawRun(dice: Dice, run: number): Extents {
  const extents = new Extents(1);
  for (let block = dice.draw(4); block < BLOCKS;) {
    const count = Math.min(1 + dice.draw(6), BLOCKS - block);
    extents.push(block, count, dice.draw(4) === 0 ? HOLE : run * 1000 + dice.draw(3) * 100 + block);
    block += count + dice.draw(3);
  }
  return extents;
}

/** The place of each block of a disk after runs. */
function modelOf(runs: readonly Extents[]): number[] {
  const model = new Array<number>(BLOCKS).fill(HOLE);
  for (const { length, blocks, counts, places } of runs) {
    for (let nth = 0; nth < length; nth++) {
      for (let at = 0; at < counts[nth]; at++) {
        model[blocks[nth] + at] = places[nth] === HOLE ? HOLE : places[nth] + at;
      }
    }
  }
  return model;
}

Deno.test("merged runs are what they were one after the other", async (t) => {
  await eachSeed(t, 2000, (seed) => {
    const dice = new Dice(seed);
    const older = Array.from({ length: dice.draw(3) }, (_, nth) => drawRun(dice, 1 + nth));
    const runs = Array.from({ length: 1 + dice.draw(5) }, (_, nth) => drawRun(dice, 10 + nth));
    const isWhole = older.length === 0;
    const merged = mergeRuns(runs, isWhole);
    assertEquals(modelOf([...older, merged]), modelOf([...older, ...runs]));
    if (isWhole) assertEquals(merged.places.subarray(0, merged.length).indexOf(HOLE), -1);
  });
});

Deno.test("runs stay few, and each entry is written again once per level", () => {
  let levels: number[] = [];
  let most = 0;
  let written = 0;
  const sizes: number[] = [];
  for (let commit = 0; commit < 5000; commit++) {
    let level = 0;
    let size = 1;
    for (;;) {
      const count = runsToMerge([...levels, level]) - 1;
      if (count < 0) break;
      for (const one of sizes.splice(sizes.length - count)) size += one;
      levels = levels.slice(0, levels.length - count);
      level++;
    }
    levels.push(level);
    sizes.push(size);
    written += size;
    most = Math.max(most, levels.length);
  }
  // Seven of each of the levels that 5000 commits make.
  assertEquals(most <= 7 * 5, true, `${most} runs`);
  assertEquals(written <= 5000 * 5, true, `${written} entries`);
  assertEquals(sizes.reduce((sum, size) => sum + size), 5000);
});
