/**
 * A volume's catalog in its store: reads and changes it. There is none until the first change.
 *
 * The catalog and the collection of garbage exclude each other by its floor:
 *
 * - Whoever names a manifest does it by a change of the catalog that finds the floor at or below that
 *   manifest.
 * - Whoever deletes raises the floor to a manifest first, and then keeps what that manifest and all
 *   entries of the same catalog reach, and every object that is newer.
 *
 * A manifest that gets a name later is at the floor or newer. It reaches nothing that is older than
 * the floor's manifest and not reached by that one too: old data only ever becomes less.
 *
 * @module
 */

import type { GetTerms, Store, Version } from "../store/store.ts";
import { UblkError } from "../uapi/error.ts";
import { decoded, notFound, readAnyHead } from "./state.ts";
import { type Catalog, decodeCatalog, encodeCatalog } from "./format/catalog.ts";
import type { ObjectNames } from "./names.ts";
import type { Seam } from "./seam.ts";

/** Reads the catalog of a name; undefined if there is none yet. */
export async function readCatalog(
  store: Store,
  names: ObjectNames,
  terms?: GetTerms,
): Promise<{ readonly catalog: Catalog; readonly version: Version } | undefined> {
  const found = await store.get(names.catalog, terms);
  if (found === undefined) return undefined;
  const catalog = decoded(store, names.catalog, () => decodeCatalog(found.bytes));
  return { catalog, version: found.version };
}

/** The catalog of a volume; an empty one if it has none, or its name has another volume's. */
export async function catalogOf(
  store: Store,
  names: ObjectNames,
  volume: string,
): Promise<Catalog> {
  return ownCatalog((await readCatalog(store, names))?.catalog, volume);
}

function ownCatalog(found: Catalog | undefined, volume: string): Catalog {
  if (found?.volume === volume) return found;
  return { volume, nonce: volume, floor: 0, least: 0, entries: [] };
}

/** A volume whose catalog is changed. */
export interface CatalogPlace {
  /** The store. */
  readonly store: Store;
  /** The names of the volume's objects. */
  readonly names: ObjectNames;
  /** The volume's UUID. */
  readonly volume: string;
  /** Randomness. */
  readonly seam: Seam;
}

/**
 * Changes a catalog. The change is durable once this resolves.
 *
 * @param change Makes the new one; undefined leaves it as it is. It may be called more than once, also
 *   after it has succeeded: it must find its own work. It may throw.
 * @returns The catalog that counts now.
 */
export async function changeCatalog(
  { store, names, volume, seam }: CatalogPlace,
  change: (catalog: Catalog) => Catalog | undefined | Promise<Catalog | undefined>,
): Promise<Catalog> {
  for (;;) {
    const found = await readCatalog(store, names);
    const before = ownCatalog(found?.catalog, volume);
    if (found !== undefined && found.catalog !== before) {
      // It is what a removed volume of this name has left, unless ours is the one that was removed.
      const head = await readAnyHead(store, names);
      if (head?.head.volume !== volume) throw notFound(store, names.volume);
    }
    const changed = await change(before);
    if (changed === undefined) return before;
    const after: Catalog = { ...changed, nonce: seam.uuid() };
    const bytes = encodeCatalog(after);
    const put = found === undefined
      ? await store.putIfAbsent(names.catalog, bytes)
      : await store.replace(names.catalog, bytes, found.version);
    if (put !== undefined) return after;
    // A lost answer looks like a lost race.
    const now = (await readCatalog(store, names))?.catalog;
    if (now?.nonce === after.nonce) return now;
  }
}

/** Throws if a volume is being removed. @throws {UblkError} `VOLUME_NOT_FOUND` */
export function checkNotRemoved({ removed }: Catalog, store: Store, name: string): void {
  if (removed === undefined) return;
  throw new UblkError("VOLUME_NOT_FOUND", {
    operation: `volume ${name}`,
    reason: `it is being removed from ${store.url}`,
    hint: `ublk-volume rm ${name} brings that to an end`,
  });
}
