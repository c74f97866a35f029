/**
 * Keeps the runs of a block map few. Each commit adds one; as soon as eight of one level stand
 * together at the end, they become one of the next level. So an entry is written again once per
 * level, however large the volume is: the whole map is never written at once.
 *
 * @module
 */

import { HOLE } from "../format/place.ts";
import { Extents } from "../format/run.ts";

/** How many runs of one level become one. */
export const RUNS_PER_LEVEL = 8;

/** How many runs at the end are to be merged; 0 for none. */
export function runsToMerge(levels: readonly number[]): number {
  const last = levels.at(-1);
  if (last === undefined) return 0;
  let count = 0;
  while (count < levels.length && levels[levels.length - 1 - count] === last) count++;
  return count >= RUNS_PER_LEVEL ? count : 0;
}

/**
 * Merges runs, the oldest first: later ones win.
 *
 * @param isWhole Nothing is older than these runs, so holes need not be kept.
 */
export function mergeRuns(runs: readonly Extents[], isWhole: boolean): Extents {
  let merged = runs[0];
  for (const newer of runs.slice(1)) merged = mergeTwo(merged, newer);
  return isWhole ? withoutHoles(merged) : merged;
}

/** Merges two runs in one pass. */
function mergeTwo(older: Extents, newer: Extents): Extents {
  const result = new Extents(older.length + newer.length);
  let nth = 0;
  /** Blocks of the older entry that are dealt with. */
  let done = 0;
  const takeOlder = (until: number) => {
    while (nth < older.length) {
      const block = older.blocks[nth] + done;
      const end = older.blocks[nth] + older.counts[nth];
      if (block >= until) return;
      const count = Math.min(end, until) - block;
      const place = older.places[nth];
      result.push(block, count, place === HOLE ? HOLE : place + done);
      done += count;
      if (block + count < end) return;
      nth++;
      done = 0;
    }
  };
  const skipOlder = (until: number) => {
    while (nth < older.length && older.blocks[nth] + done < until) {
      const end = older.blocks[nth] + older.counts[nth];
      if (end > until) {
        done = until - older.blocks[nth];
        return;
      }
      nth++;
      done = 0;
    }
  };
  for (let at = 0; at < newer.length; at++) {
    takeOlder(newer.blocks[at]);
    result.push(newer.blocks[at], newer.counts[at], newer.places[at]);
    skipOlder(newer.blocks[at] + newer.counts[at]);
  }
  takeOlder(Infinity);
  return result;
}

function withoutHoles(extents: Extents): Extents {
  const result = new Extents(Math.max(1, extents.length));
  for (let nth = 0; nth < extents.length; nth++) {
    if (extents.places[nth] === HOLE) continue;
    result.push(extents.blocks[nth], extents.counts[nth], extents.places[nth]);
  }
  return result;
}
