/**
 * A second name for a snapshot. The two have the same data, and each goes by itself.
 *
 * @module
 */

import { retried } from "../store/retry.ts";
import { catalogOf, changeCatalog, checkNotRemoved } from "./catalog.ts";
import { notFound, readHead } from "./state.ts";
import { checkedSnapshotName, ObjectNames } from "./names.ts";
import { MACHINE } from "./seam.ts";
import { noSnapshot, type RemoveSnapshotOptions, snapshotExists, snapshotIn } from "./snapshots.ts";
import { type StoreLike, storeOf } from "./store_like.ts";

const PATIENCE_MS = 30_000;

/**
 * Gives a snapshot another name besides its own. No data is copied.
 *
 * @throws {UblkError} `VOLUME_NOT_FOUND`; `VOLUME_EXISTS` if there is a snapshot of the new name.
 */
export async function copySnapshot(
  store: StoreLike,
  name: string,
  snapshot: string,
  as: string,
  { patienceMs = PATIENCE_MS, seam = MACHINE }: RemoveSnapshotOptions = {},
): Promise<void> {
  checkedSnapshotName(as);
  await using stack = new AsyncDisposableStack();
  const opened = await storeOf(store, stack);
  const names = new ObjectNames(name);
  const found = await readHead(opened, names);
  if (found === undefined) throw notFound(opened, name);
  const place = { store: opened, names, volume: found.head.volume, seam };
  const id = seam.uuid();
  await retried(() =>
    changeCatalog(place, (catalog) => {
      checkNotRemoved(catalog, opened, name);
      const there = snapshotIn(catalog, as);
      if (there?.id === id) return undefined;
      if (there !== undefined) throw snapshotExists(name, as);
      const source = snapshotIn(catalog, snapshot);
      if (source === undefined) throw noSnapshot(opened, name, snapshot);
      const copy = { ...source, name: as, id, time: seam.now() };
      return { ...catalog, entries: [...catalog.entries, copy] };
    }), { withinMs: patienceMs });
}

/**
 * Whether two snapshots of a volume are of one state, as a snapshot and its copy are.
 *
 * @throws {UblkError} `VOLUME_NOT_FOUND` if there is no such volume.
 */
export async function isCopy(
  store: StoreLike,
  name: string,
  snapshot: string,
  other: string,
): Promise<boolean> {
  await using stack = new AsyncDisposableStack();
  const opened = await storeOf(store, stack);
  const names = new ObjectNames(name);
  const found = await readHead(opened, names);
  if (found === undefined) throw notFound(opened, name);
  const catalog = await catalogOf(opened, names, found.head.volume);
  const manifestOf = (of: string) => snapshotIn(catalog, of)?.manifest;
  return manifestOf(snapshot) !== undefined && manifestOf(snapshot) === manifestOf(other);
}
