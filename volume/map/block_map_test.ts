import { assert, assertEquals, assertLessOrEqual, assertThrows } from "@std/assert";
import { Dice } from "../../uapi/dice.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { BlockMap } from "./block_map.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const LEAF = 1024;
const MIB = 1 << 20;

const mapOf = (blocks = 2 ** 30, step = 1) => new BlockMap({ blocks, step });

/** All extents of a map, as `[block, count, place]`. */
function extentsOf(map: BlockMap): number[][] {
  const extents: number[][] = [];
  for (const cursor = map.cursor(); cursor.next();) {
    extents.push([cursor.block, cursor.count, cursor.place]);
  }
  assertEquals(map.extents, extents.length);
  assertEquals(map.mappedBlocks, extents.reduce((sum, [, count]) => sum + count, 0));
  return extents;
}

Deno.test("BlockMap.set + the newest place wins, and what it covers is trimmed or split", () => {
  const map = mapOf();
  map.set(10, 10, 100);
  map.set(15, 10, 500);
  assertEquals(extentsOf(map), [[10, 5, 100], [15, 10, 500]]);
  map.set(5, 6, 900);
  assertEquals(extentsOf(map), [[5, 6, 900], [11, 4, 101], [15, 10, 500]]);
  map.set(20, 1, 7);
  assertEquals(extentsOf(map), [
    ...[[5, 6, 900], [11, 4, 101], [15, 5, 500]],
    ...[[20, 1, 7], [21, 4, 506]],
  ]);
  map.set(0, 30, 1000);
  assertEquals(extentsOf(map), [[0, 30, 1000]]);
});

Deno.test("BlockMap.set + what continues a neighbour is one extent with it", () => {
  const map = mapOf(2 ** 30, 8);
  map.set(10, 1, 800);
  map.set(12, 1, 816);
  map.set(11, 1, 808);
  assertEquals(extentsOf(map), [[10, 3, 800]]);
  map.set(11, 1, 808);
  assertEquals(extentsOf(map), [[10, 3, 800]], "the same once more");
  map.set(9, 1, 793);
  map.set(13, 1, 825);
  assertEquals(extentsOf(map), [[9, 1, 793], [10, 3, 800], [13, 1, 825]], "not by a step");
});

Deno.test("BlockMap.set + a place that would continue, but blocks between + stay two extents", () => {
  const map = mapOf();
  map.set(10, 1, 100);
  map.set(5, 2, 98);
  map.set(14, 2, 101);
  assertEquals(extentsOf(map), [[5, 2, 98], [10, 1, 100], [14, 2, 101]]);
});

// A search for the extent on the left once found the one that begins where the change does.
Deno.test("BlockMap.set + the place of a block that follows an extent + they become one", () => {
  const map = mapOf();
  map.set(10, 1, 100);
  map.set(11, 1, 50);
  map.set(11, 1, 101);
  assertEquals(extentsOf(map), [[10, 2, 100]]);
});

Deno.test("BlockMap + places at both ends of 53 bits, and around the carry of their words", () => {
  const map = mapOf();
  const most = Number.MAX_SAFE_INTEGER;
  for (const place of [0, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 2, 2 ** 32 - 1, 2 ** 32, most - 3]) {
    map.set(100, 4, place);
    assertEquals([map.find(100, 9), map.place], [4, place]);
    assertEquals([map.find(103, 9), map.place], [1, place + 3]);
    // A flat page, too.
    for (let block = 0; block < LEAF; block += 2) map.set(5 * LEAF + block, 1, block);
    map.set(5 * LEAF + 100, 4, place);
    assertEquals([map.find(5 * LEAF + 103, 9), map.place], [1, place + 3]);
  }
  assertThrows(() => map.set(100, 4, most - 2), Error, "a place has 53 bits");
  assertThrows(() => map.set(100, 4, -1), Error, "a place has 53 bits");
  assertThrows(() => map.set(100, 4, NaN), Error, "a place has 53 bits");
});

Deno.test("BlockMap + blocks that are not on the disk + an assertion fails", () => {
  const map = mapOf(5000);
  map.set(4999, 1, 1);
  for (const [block, count] of [[4999, 2], [5000, 1], [-1, 1], [0, 0], [0, -1], [NaN, 1]]) {
    assertThrows(() => map.set(block, count, 0), Error, "blocks of the disk");
    assertThrows(() => map.remove(block, count), Error, "blocks of the disk");
    assertThrows(() => map.removeUpTo(block, count, 9), Error, "blocks of the disk");
    assertThrows(() => map.find(block, count), Error, "blocks of the disk");
  }
  assertEquals(extentsOf(map), [[4999, 1, 1]]);
  assertThrows(() => new BlockMap({ blocks: 1, step: -1 }), Error, "places do not fall");
  for (const blocksPerLeaf of [4, 1000, 16384]) {
    assertThrows(() => new BlockMap({ blocks: 1, step: 1, blocksPerLeaf }), Error, "power of two");
  }
});

Deno.test("BlockMap.set + an extent over many leaves + it comes in pieces that continue", () => {
  const map = mapOf();
  map.set(LEAF - 1, 2 * LEAF + 2, 5000);
  assertEquals(extentsOf(map), [
    [LEAF - 1, 1, 5000],
    [LEAF, LEAF, 5001],
    [2 * LEAF, LEAF, 5001 + LEAF],
    [3 * LEAF, 1, 5001 + 2 * LEAF],
  ]);
});

Deno.test("BlockMap.removeUpTo + what was written since stays", () => {
  const map = mapOf(2 ** 30, 8);
  map.set(0, 10, 800);
  map.set(3, 2, 4000);
  map.removeUpTo(0, 10, 848);
  assertEquals(extentsOf(map), [[3, 2, 4000], [7, 3, 856]]);
  map.removeUpTo(0, 10, 4007);
  assertEquals(extentsOf(map), [[4, 1, 4008]]);
});

Deno.test("BlockMap.onReplace + gets each old piece, trimmed to what is covered", () => {
  const map = mapOf(2 ** 30, 2);
  map.set(0, 10, 100);
  map.set(20, 10, 500);
  const seen: number[][] = [];
  map.onReplace = (place, count) => seen.push([place, count]);
  map.set(5, 20, 900);
  map.remove(0, 1);
  map.removeUpTo(0, 100, 900);
  assertEquals(seen, [[110, 5], [500, 5], [100, 1], [102, 4], [900, 1], [510, 5]]);
});

Deno.test("BlockMap.resize + what is beyond is gone, and holes when the disk grows again", () => {
  const map = mapOf(1000);
  map.set(900, 100, 5);
  map.resize(950);
  assertThrows(() => map.find(949, 2), Error, "blocks of the disk");
  map.resize(2 ** 44);
  assertEquals(extentsOf(map), [[900, 50, 5]]);
  map.set(2 ** 44 - 1, 1, 6);
  assertEquals(extentsOf(map), [[900, 50, 5], [2 ** 44 - 1, 1, 6]]);
  map.resize(0);
  assertEquals(extentsOf(map), []);
});

Deno.test("BlockMap.loadSorted + refuses runs that are not sorted, and keeps older extents", () => {
  const map = mapOf();
  map.set(5, 10, 1000);
  const load = (blocks: number[], counts: number[], places: number[]) =>
    map.loadSorted({
      blocks: Float64Array.from(blocks),
      counts: Uint32Array.from(counts),
      places: Float64Array.from(places),
      length: blocks.length,
    });
  load([7, 8, 3000], [1, 1, 2000], [7, 8, 9]);
  assertEquals(extentsOf(map), [
    ...[[5, 2, 1000], [7, 2, 7], [9, 6, 1004]],
    ...[[3000, 72, 9], [3072, 1024, 81], [4096, 904, 1105]],
  ]);
  assertThrows(() => load([7, 7], [1, 1], [1, 2]), Error, "sorted");
  assertThrows(() => load([2 ** 30 - 1], [2], [1]), Error, "sorted");
  assertThrows(() => load([7], [1], [-1]), Error, "53 bits");
});

Deno.test("MapCursor.next + a map that changes + sees the changes ahead of it", () => {
  const map = mapOf();
  for (let nth = 0; nth < 10; nth++) map.set(nth * 700, 1, nth);
  const seen = [];
  for (const cursor = map.cursor(0, 6000); cursor.next();) {
    seen.push(cursor.place);
    map.remove(cursor.block, 701);
  }
  assertEquals(seen, [0, 2, 4, 6, 8]);
});

Deno.test("BlockMap + a leaf that is full of extents and becomes simple again + gives its page back", () => {
  const map = mapOf();
  const leaves = 1000;
  for (let block = 0; block < leaves * LEAF; block += 2) map.set(block, 1, block);
  const full = map.bytes;
  assertLessOrEqual(full, leaves * 8208 * 1.02 + MIB);
  for (let leaf = 0; leaf < leaves; leaf++) map.set(leaf * LEAF, LEAF, leaf * LEAF);
  assertEquals(map.extents, leaves);
  assertLessOrEqual(map.bytes, 4 * MIB, "a piece that still had room, the first, and a spare one");
});

Deno.test("BlockMap + leaves of which little is left + take little", () => {
  const map = mapOf();
  const leaves = 4000;
  for (let leaf = 0; leaf < leaves; leaf++) {
    for (let nth = 0; nth < 100; nth++) map.set(leaf * LEAF + nth * 10, 1, nth);
  }
  assert(map.bytes > 4 * MIB, `${map.bytes}`);
  for (let leaf = 0; leaf < leaves; leaf++) {
    for (let nth = 1; nth < 100; nth++) map.remove(leaf * LEAF + nth * 10, 1);
  }
  assertEquals(map.extents, leaves);
  assertLessOrEqual(map.bytes, 2 * MIB);
});

Deno.test("BlockMap + all removed, in any order + all memory but a spare piece is given back", () => {
  for (const seed of [1, 2, 3]) {
    const dice = new Dice(seed);
    const map = mapOf(2 ** 24);
    for (let nth = 0; nth < 300_000; nth++) {
      map.set(dice.draw(2 ** 24 - 8), 1 + dice.draw(8), nth * 64);
    }
    assert(map.bytes > 3 * MIB, `${map.bytes}`);
    if (seed === 1) map.remove(0, 2 ** 24);
    else for (let nth = 0; nth < 1 << 14; nth++) map.remove(LEAF * (nth * 7919 % (1 << 14)), LEAF);
    assertEquals(map.extents, 0);
    assertLessOrEqual(map.bytes, 2 * MIB);
  }
});

Deno.test("BlockMap + a journal's entries that come and go + memory stays bounded", () => {
  const map = mapOf(2 ** 28, 8);
  const dice = new Dice(5);
  const entries = 20_000;
  const queue = new Float64Array(entries);
  let most = 0;
  for (let nth = 0; nth < 400_000; nth++) {
    const place = nth * 8;
    if (nth >= entries) map.removeUpTo(queue[nth % entries], 1, place - entries * 8);
    queue[nth % entries] = dice.draw(2 ** 28);
    map.set(queue[nth % entries], 1, place);
    if (nth === 2 * entries) most = map.bytes;
  }
  assertLessOrEqual(map.extents, entries);
  assertLessOrEqual(map.bytes, most * 1.25 + MIB);
});

Deno.test("BlockMap + a huge disk with little on it + takes little, and is gone over at once", () => {
  const map = mapOf(2 ** 44);
  const dice = new Dice(6);
  map.remove(0, 2 ** 44);
  for (let nth = 0; nth < 10_000; nth++) {
    map.set(dice.draw(2 ** 22) * 2 ** 22 + dice.draw(2 ** 22), 1, nth * 5);
  }
  assertLessOrEqual(map.bytes / map.extents, 1500);
  assertEquals(extentsOf(map).length, 10_000);
  map.remove(0, 2 ** 44);
  assertEquals(extentsOf(map), []);
});

Deno.test("BlockMap + random extents of one block + at most 40 bytes each, at any fill", () => {
  const map = mapOf(2 ** 21);
  const dice = new Dice(7);
  for (let nth = 1; nth <= 1_000_000; nth++) {
    map.set(dice.draw(2 ** 21), 1, nth * 3);
    if (nth % 20_000 === 0) assertLessOrEqual(map.bytes / map.extents, 40 + 2 * MIB / map.extents);
  }
});
