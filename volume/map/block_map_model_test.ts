/**
 * A block map against a plain `Map` from each block to its place.
 *
 * `-- --seed 7` replays a seed, and `-- --seeds 20000` tries many.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { eachSeed } from "../../tests/seeds.ts";
import { Dice } from "../../uapi/dice.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { BlockMap } from "./block_map.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const DISK = 2 ** 44;
/** Windows of the disk begin there, so that many operations meet in few leaves. */
const SITES = [0, 2 ** 20, 2 ** 31 - 2048, 2 ** 32 - 1024, 2 ** 40, DISK - 8192];

/** A map and its model. */
class Pair {
  readonly dice: Dice;
  readonly map: BlockMap;
  readonly model = new Map<number, number>();
  /** The places that the hook should have got, and those that it has. */
  readonly replaced: number[] = [];
  readonly hooked: number[] = [];
  readonly window: number;
  #place = 0;

  constructor(seed: number) {
    this.dice = new Dice(seed);
    const blocksPerLeaf = this.pick([8, 16, 64, 1024]);
    this.map = new BlockMap({ blocks: DISK, step: this.pick([0, 1, 8]), blocksPerLeaf });
    this.window = Math.min(8192, this.pick([3, 20]) * blocksPerLeaf);
    if (seed % 3 > 0) {
      this.map.onReplace = (place, count) => {
        for (let nth = 0; nth < count; nth++) this.hooked.push(place + nth * this.map.step);
      };
    }
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.dice.draw(choices.length)];
  }

  /** Blocks of the disk, as `[block, count]`. */
  range(): [block: number, count: number] {
    const leaf = this.map.blocksPerLeaf;
    const site = this.pick(SITES);
    let start = this.dice.draw(this.window);
    const most = this.pick([1, 3, leaf, 3 * leaf]);
    let count = 1 + this.dice.draw(most);
    if (this.dice.draw(8) === 0) {
      start -= start % leaf;
      count = leaf;
    }
    const block = Math.min(site + start, this.map.blocks - 1);
    return [block, Math.min(count, this.map.blocks - block)];
  }

  /** A place: often the one that continues the block before. */
  newPlace(block: number, count: number): number {
    const { step } = this.map;
    const kind = this.dice.draw(8);
    const before = this.model.get(block - 1);
    const last = Number.MAX_SAFE_INTEGER - step * count;
    if (kind < 3 && before !== undefined && before < last) return before + step;
    const after = this.model.get(block + count);
    if (kind < 5 && after !== undefined && after >= count * step) return after - count * step;
    const beyond = this.model.get(block + count + 1);
    if (kind === 7 && beyond !== undefined && beyond >= count * step) return beyond - count * step;
    if (kind === 5) return Math.min(this.model.get(block) ?? 0, last);
    if (kind === 6) return last - step * this.dice.draw(1000);
    this.#place += this.dice.draw(10) * step;
    // Around the carry between the two words of a place.
    if (this.dice.draw(3) === 0) return 2 ** 32 * this.dice.draw(3) + this.dice.draw(200);
    return this.#place;
  }

  set(block: number, count: number, place: number): void {
    for (let nth = 0; nth < count; nth++) {
      const old = this.model.get(block + nth);
      if (old !== undefined) this.replaced.push(old);
      this.model.set(block + nth, place + nth * this.map.step);
    }
  }

  remove(block: number, count: number, upTo = Infinity): void {
    const end = block + count;
    const doomed = count < 20_000
      ? Array.from({ length: count }, (_, nth) => block + nth)
      : [...this.model.keys()].filter((at) => at >= block && at < end).sort((a, b) => a - b);
    for (const at of doomed) {
      const old = this.model.get(at);
      if (old === undefined || old > upTo) continue;
      this.replaced.push(old);
      this.model.delete(at);
    }
  }

  operate(): void {
    const { map, dice } = this;
    const [block, count] = this.range();
    const kind = dice.draw(100);
    if (kind < 60) {
      const place = this.newPlace(block, count);
      map.set(block, count, place);
      this.set(block, count, place);
    } else if (kind < 75) {
      map.remove(block, count);
      this.remove(block, count);
    } else if (kind < 90) {
      const limit = this.model.get(block + dice.draw(count)) ?? this.#place;
      const long = dice.draw(4) === 0 ? map.blocks - block : count;
      map.removeUpTo(block, long, limit);
      this.remove(block, long, limit);
    } else if (kind < 95) {
      this.load();
    } else if (kind < 97) {
      const from = this.pick([0, block]);
      map.remove(from, map.blocks - from);
      this.remove(from, map.blocks - from);
    } else {
      const blocks = this.pick([DISK, 2 ** 40 + 100, block + count, 2 ** 20 + 1]);
      if (blocks < map.blocks) this.remove(blocks, map.blocks - blocks);
      map.resize(blocks);
    }
  }

  load(): void {
    const length = this.dice.draw(40);
    const blocks = new Float64Array(length);
    const counts = new Uint32Array(length);
    const places = new Float64Array(length);
    let [at] = this.range();
    let runs = 0;
    while (runs < length) {
      const count = 1 + this.dice.draw(this.pick([1, 4, 2 * this.map.blocksPerLeaf]));
      if (at + count > this.map.blocks) break;
      const place = this.newPlace(at, count);
      [blocks[runs], counts[runs], places[runs]] = [at, count, place];
      this.set(at, count, place);
      runs++;
      at += count + this.dice.draw(this.pick([1, 10, 2 * this.map.blocksPerLeaf]));
    }
    this.map.loadSorted({ blocks, counts, places, length: runs });
  }

  lookUp(): void {
    const [block, count] = this.range();
    const { map, model } = this;
    const length = map.find(block, count);
    const place = model.get(block);
    assertEquals(map.place, place ?? -1, `the place of ${block}`);
    assert(length >= 1 && length <= count, `${length} of ${count}`);
    const same = (nth: number) =>
      model.get(block + nth) === (place === undefined ? undefined : place + nth * map.step);
    for (let nth = 0; nth < length; nth++) assert(same(nth), `${block} + ${nth} of ${length}`);
    const stopsHere = length === count || (block + length) % map.blocksPerLeaf === 0;
    if (!stopsHere) assert(!same(length), `the run at ${block} is longer than ${length}`);
  }

  /** The extents of the model, which end where leaves do. */
  extents(): number[][] {
    const { blocksPerLeaf, step } = this.map;
    const extents: number[][] = [];
    for (const [block, place] of [...this.model].sort(([a], [b]) => a - b)) {
      const last = extents.at(-1);
      if (
        last !== undefined && last[0] + last[1] === block && block % blocksPerLeaf > 0 &&
        last[2] + last[1] * step === place
      ) last[1]++;
      else extents.push([block, 1, place]);
    }
    return extents;
  }

  compare(): void {
    const { map } = this;
    const seen: number[][] = [];
    for (const cursor = map.cursor(); cursor.next();) {
      seen.push([cursor.block, cursor.count, cursor.place]);
    }
    const expected = this.extents();
    assertEquals(seen, expected);
    assertEquals(map.extents, expected.length, "extents");
    assertEquals(map.mappedBlocks, this.model.size, "mapped blocks");
    const [from, count] = this.range();
    for (const cursor = map.cursor(from, from + count); cursor.next();) {
      assert(cursor.block >= from && cursor.block + cursor.count <= from + count, "within");
    }
    if (map.onReplace !== undefined) {
      assertEquals(this.hooked.sort(), this.replaced.sort(), "the hook");
    }
    this.hooked.length = this.replaced.length = 0;
  }
}

Deno.test("BlockMap is a Map from blocks to places", async (t) => {
  await eachSeed(t, 80, (seed) => {
    const pair = new Pair(seed);
    const operations = pair.pick([20, 100, 400]);
    for (let nth = 1; nth <= operations; nth++) {
      pair.operate();
      for (let look = 0; look < 4; look++) pair.lookUp();
      if (nth % 50 === 0 || nth === operations) pair.compare();
    }
    const { map } = pair;
    map.remove(0, map.blocks);
    assertEquals([map.extents, map.mappedBlocks], [0, 0]);
    assertEquals(map.find(0, 1), 1);
    assertEquals(map.place, -1);
  });
});
