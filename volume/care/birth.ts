/**
 * What a clone was when it was made, as its source still says: for a repair, if the clone itself has
 * lost it.
 *
 * @module
 */

import type { Store } from "../../store/store.ts";
import { isUblkError } from "../../uapi/error.ts";
import { readCatalog } from "../catalog.ts";
import { cloneOf } from "../clone.ts";
import { readManifest } from "../state.ts";
import type { Manifest } from "../format/manifest.ts";
import type { Extents } from "../format/run.ts";
import { isVolumeName, ObjectNames } from "../names.ts";
import { runsOf } from "./runs_left.ts";

const CATALOG = "/catalog";

/**
 * The first manifest of a clone, of the source's size; the clone's disk may be greater.
 *
 * @param source The name of its source, if that is known. Otherwise all volumes are asked.
 * @returns Undefined if no volume knows of such a clone.
 */
export async function birthOf(
  store: Store,
  { volume: clone }: ObjectNames,
  volume: string,
  source?: string,
): Promise<Manifest | undefined> {
  for await (const name of source === undefined ? volumesIn(store) : [source]) {
    const found = await childOf(store, new ObjectNames(name), clone, volume);
    if (found !== undefined) return found;
  }
  return undefined;
}

async function* volumesIn(store: Store): AsyncGenerator<string> {
  for await (const { name } of store.list("")) {
    const volume = name.slice(0, -CATALOG.length);
    if (name.endsWith(CATALOG) && isVolumeName(volume)) yield volume;
  }
}

async function childOf(
  store: Store,
  names: ObjectNames,
  clone: string,
  volume: string,
): Promise<Manifest | undefined> {
  try {
    const catalog = (await readCatalog(store, names))?.catalog;
    const entry = catalog?.entries.find(({ kind, name, id }) =>
      kind === "clone" && name === clone && id === volume
    );
    if (catalog === undefined || entry === undefined) return undefined;
    const shared = await readManifest(store, names, { ...entry, volume: catalog.volume });
    return cloneOf(shared, names, { volume, number: 0, since: 1, time: entry.time });
  } catch (error) {
    if (isUblkError(error) && error.code === "VOLUME_DAMAGED") return undefined;
    throw error;
  }
}

/**
 * The map with which a clone began, if those of its runs that are left are only its ancestors': some
 * more of these may have become part of one that is lost.
 *
 * @param count So many runs are left, before the first that is lost.
 * @param losses Takes a line if it is lost.
 */
export async function runsAtBirth(
  store: Store,
  names: ObjectNames,
  { volume, ancestors, runs }: Manifest,
  count: number,
  losses: string[],
): Promise<Extents[] | undefined> {
  const source = ancestors.at(-1);
  if (source === undefined || runs.slice(0, count).some(({ number }) => number >= source.run)) {
    return undefined;
  }
  const birth = await birthOf(store, names, volume, source.name);
  const born = birth && await runsOf(store, names, birth);
  if (born?.every((run) => run !== undefined)) return born as Extents[];
  losses.push(
    `what it shares with ${source.name} is lost, or older than it was: neither of both says any ` +
      "more where that is",
  );
  return undefined;
}
