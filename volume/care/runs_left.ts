/**
 * The runs of a manifest that can still be read.
 *
 * @module
 */

import { type Store, StoreError } from "../../store/store.ts";
import { isUblkError } from "../../uapi/error.ts";
import { readRun } from "../state.ts";
import type { Manifest } from "../format/manifest.ts";
import { chunkOf, HOLE } from "../format/place.ts";
import type { Extents } from "../format/run.ts";
import type { ObjectNames } from "../names.ts";

/** The runs of a manifest, in their order; undefined for those that are missing or damaged. */
export async function runsOf(
  store: Store,
  names: ObjectNames,
  manifest: Manifest,
): Promise<(Extents | undefined)[]> {
  const runs: (Extents | undefined)[] = [];
  for (let nth = 0; nth < manifest.runs.length; nth++) {
    try {
      runs.push(await readRun(store, names, manifest, nth));
    } catch (error) {
      if (!isDamage(error)) throw error;
      runs.push(undefined);
    }
  }
  return runs;
}

function isDamage(error: unknown): boolean {
  return isUblkError(error) && error.code === "VOLUME_DAMAGED" ||
    error instanceof StoreError && error.fault === "corrupt";
}

/** The newest chunk that runs name; 0 for none. */
export function newestChunk(runs: readonly Extents[]): number {
  let newest = 0;
  for (const { length, places } of runs) {
    for (let nth = 0; nth < length; nth++) {
      if (places[nth] !== HOLE) newest = Math.max(newest, chunkOf(places[nth]));
    }
  }
  return newest;
}
