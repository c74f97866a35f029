/**
 * Many operations on a block map: `map_garbage_child.ts <case> <operations>`, under V8's
 * `--trace-gc`.
 *
 * @module
 */

import { BlockMap } from "../volume/map/block_map.ts";

/** A disk of 8 TiB: V8 has no cheap number for a block beyond. */
const DISK = 2 ** 31 - 1;
/** The operations go to a window of 16 GiB. */
const WINDOW = 2 ** 22;
const FIRST = DISK - WINDOW - 1024;
const PLACE = 2 ** 40;
/** Operations per call, so that V8 optimises the caller as it would a server. */
const BATCH = 100;

const map = new BlockMap({ blocks: DISK, step: 8 });
let live = 0;
map.onReplace = (place, count) => {
  live += place >= PLACE ? count : 2 * count;
};
let cursor = map.cursor();
let state = 99;
let kept: number[] = [];

function draw(): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return FIRST + (state & WINDOW - 1);
}

const CASES: Record<string, () => void> = {
  set() {
    for (let nth = 0; nth < BATCH; nth++) map.set(draw(), 1 + (nth & 7), PLACE + nth * 64);
  },
  flat() {
    for (let nth = 0; nth < BATCH; nth++) {
      map.set(FIRST + (draw() & 0x3fff), 1 + (nth & 7), PLACE + nth * 64);
    }
  },
  find() {
    for (let nth = 0; nth < BATCH; nth++) {
      live += map.find(draw(), 8);
      if (map.place > PLACE) live++;
    }
  },
  remove() {
    for (let nth = 0; nth < BATCH; nth++) map.remove(draw(), 8);
  },
  cursor() {
    for (let nth = 0; nth < BATCH; nth++) {
      if (!cursor.next()) cursor = map.cursor();
      else if (cursor.place > PLACE) live += cursor.count;
    }
  },
  garbage() {
    for (let nth = 0; nth < BATCH; nth++) kept = [draw(), nth];
  },
};

const [name, operations] = Deno.args;
const operate = CASES[name];
if (["find", "remove", "cursor"].includes(name)) {
  for (let nth = 0; nth < 100_000; nth++) map.set(draw(), 3, PLACE + nth * 64);
}
for (let done = 0; done < Number(operations); done += BATCH) operate();
if (live < 0 || kept.length > 2) throw new Error("the compiler cannot leave it out");
