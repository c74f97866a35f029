/**
 * Keeps the runs of a block map few. Each commit adds one. A run has a level: how often its number of
 * entries can be divided by eight. As soon as eight of one level stand together at the end, they become
 * one; a new run takes those of lower levels behind the others along. So levels fall from run to run,
 * and there are at most seven of each.
 *
 * What is merged is written again, all of it by one commit: now and then that is the whole map. But by
 * then as many entries have been added as seven eighths of the oldest run that is merged. So a large map
 * is never written again for a small change, and by and by an entry is written again once per level.
 *
 * @module
 */

import { HOLE } from "../format/place.ts";
import { Extents } from "../format/run.ts";

/** How many runs of one level become one. */
const RUNS_PER_LEVEL = 8;

/** The level of a run with so many entries. */
export function levelOf(entries: number): number {
  let level = 0;
  for (let left = entries; left >= RUNS_PER_LEVEL; left /= RUNS_PER_LEVEL) level++;
  return level;
}

/**
 * How many runs at the end are to be merged with a new one; 0 for none.
 *
 * @param runs Numbers of their entries, the oldest first.
 */
export function runsToMerge(runs: readonly number[], added: number): number {
  const level = levelOf(added);
  let lower = runs.length;
  while (lower > 0 && levelOf(runs[lower - 1]) < level) lower--;
  let same = lower;
  while (same > 0 && levelOf(runs[same - 1]) === level) same--;
  return runs.length - (lower - same + 1 >= RUNS_PER_LEVEL ? same : lower);
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
