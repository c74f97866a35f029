import { assert, assertEquals } from "@std/assert";
import { eachSeed } from "../../tests/seeds.ts";
import { Dice } from "../../uapi/dice.ts";
import { HOLE } from "../format/place.ts";
import { Extents } from "../format/run.ts";
import { levelOf, mergeRuns, runsToMerge } from "./merge.ts";

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

/** The runs of a map as the drain leaves them, and what each commit writes of them. */
class MapOfRuns {
  runs: Extents[] = [];
  /** Entries that have been added when each run was written, with its own. */
  #addedAt: number[] = [];
  /** Entries of all commits. */
  added = 0;
  /** Entries that were written. */
  written = 0;
  /** The most of one commit. */
  mostWritten = 0;
  /** The most runs that there were. */
  mostRuns = 0;

  commit(extents: Extents): void {
    this.added += extents.length;
    let merged = extents;
    for (;;) {
      const count = runsToMerge(this.runs.map(({ length }) => length), merged.length);
      if (count === 0) break;
      const first = this.runs.length - count;
      const older = this.runs.splice(first);
      const [since] = this.#addedAt.splice(first);
      const enough = this.added - since >= 7 / 8 * older[0].length;
      assert(enough, `a run of ${older[0].length} is written for ${this.added - since} entries`);
      merged = mergeRuns([...older, merged], first === 0);
    }
    this.written += merged.length;
    this.mostWritten = Math.max(this.mostWritten, merged.length);
    if (merged.length > 0) {
      this.runs.push(merged);
      this.#addedAt.push(this.added);
    }
    this.mostRuns = Math.max(this.mostRuns, this.runs.length);
  }
}

/** Entries of one block at random places of a disk. */
function scattered(dice: Dice, count: number, blocks: number, commit: number): Extents {
  const drawn = new Set<number>();
  for (let nth = 0; nth < count; nth++) drawn.add(dice.draw(blocks));
  const extents = new Extents(count);
  for (const block of [...drawn].sort((left, right) => left - right)) {
    // Places that never continue each other.
    extents.push(block, 1, (commit * blocks + block) * 2);
  }
  return extents;
}

Deno.test("runs of commits of one size + stay few, and an entry is written again once per level", () => {
  for (const count of [1, 7, 8, 100]) {
    const map = new MapOfRuns();
    const dice = new Dice(count);
    for (let commit = 0; commit < 1000; commit++) {
      map.commit(scattered(dice, count, 2 ** 30, commit));
    }
    // A thousand commits cross three levels above their own.
    assert(map.mostRuns <= 7 * 3, `${map.mostRuns} runs`);
    assert(map.written < 4 * map.added, `${map.written} entries of ${map.added}`);
  }
});

Deno.test("runs of commits of any size over a small disk + are the map, and stay few", () => {
  const dice = new Dice(3);
  const map = new MapOfRuns();
  const model = new Map<number, number>();
  const blocks = 50_000;
  for (let commit = 0; commit < 1000; commit++) {
    const extents = scattered(dice, 1 + dice.draw(8 ** dice.draw(5)), blocks, commit);
    for (let nth = 0; nth < extents.length; nth++) {
      model.set(extents.blocks[nth], extents.places[nth]);
    }
    map.commit(extents);
  }
  assert(map.mostRuns <= 7 * (levelOf(blocks) + 1), `${map.mostRuns} runs`);
  assert(map.written < 4 * map.added, `${map.written} entries of ${map.added}`);
  const { length, blocks: found, places } = mergeRuns(map.runs, true);
  assertEquals(length, model.size);
  for (let nth = 0; nth < length; nth++) assertEquals(places[nth], model.get(found[nth]));
});

Deno.test("a large map + a thousand small commits never write it again", () => {
  const dice = new Dice(4);
  const map = new MapOfRuns();
  const blocks = 2 ** 30;
  map.commit(scattered(dice, 100_000, blocks, 0));
  const large = map.runs[0];
  const { added } = map;
  map.mostWritten = 0;
  for (let commit = 1; commit <= 1000; commit++) {
    map.commit(scattered(dice, 1 + dice.draw(20), blocks, commit));
    assert(map.runs[0] === large);
  }
  assert(map.mostWritten <= map.added - added, `${map.mostWritten} entries`);
});
