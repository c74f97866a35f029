/**
 * A part of a volume's removal: its catalog is marked, and it is found out what its clones need.
 *
 * @module
 */

import type { Store } from "../store/store.ts";
import { UblkError } from "../uapi/error.ts";
import { changeCatalog, readCatalog } from "./catalog.ts";
import { readAnyHead, readManifest } from "./state.ts";
import type { Catalog } from "./format/catalog.ts";
import { decodeManifest, type Manifest } from "./format/manifest.ts";
import { FormatError, NO_UUID } from "./format/record.ts";
import { numberOf, type ObjectNames, SKIPPED_NUMBERS } from "./names.ts";
import type { Seam } from "./seam.ts";
import { collectRemoved, isOlder, neededByEntries } from "./space/removed.ts";

/** What is removed, and how. */
export interface Removal {
  /** The volume's UUID, if its head can be read. */
  readonly uuid: string | undefined;
  /** The names of all its objects. */
  readonly objects: readonly string[];
  /** Refuse it if there are snapshots. */
  readonly spareSnapshots: boolean;
  /** Randomness. */
  readonly seam: Seam;
}

/**
 * Whether a volume can be removed; not so if it has snapshots that are to be spared. Looks before anything
 * is changed.
 *
 * @throws {UblkError} `VOLUME_DAMAGED` or `VOLUME_KEY` if nobody can tell what its clones need.
 */
export async function isRemovable(
  store: Store,
  names: ObjectNames,
  { uuid, spareSnapshots }: Omit<Removal, "objects">,
): Promise<boolean> {
  const before = (await readCatalog(store, names))?.catalog;
  if (before === undefined || before.volume !== uuid) return true;
  if (spareSnapshots && hasSnapshots(before)) return false;
  await neededByClones(store, names, before);
  return true;
}

/**
 * Marks a volume as removed.
 *
 * @returns The names of objects that its clones need; undefined if it has snapshots that are to be spared,
 *   and is not marked.
 */
export async function neededOfRemoved(
  store: Store,
  names: ObjectNames,
  removal: Removal,
): Promise<Set<string> | undefined> {
  const marked = await markRemoved(store, names, removal);
  return marked && await neededByClones(store, names, marked);
}

/**
 * Goes on with the removal of a volume that has no head. If that was lost by damage, it is marked first.
 *
 * @returns The names of objects that its clones need; undefined if it has snapshots that are to be spared.
 */
export async function neededOfRemains(
  store: Store,
  names: ObjectNames,
  removal: Removal,
): Promise<Set<string> | undefined> {
  const catalog = (await readCatalog(store, names))?.catalog;
  if (catalog?.removed === undefined) {
    // Also if nobody knows whose they are: another call may be deleting them too, and the next volume
    // of the name must not take numbers of theirs.
    const uuid = catalog?.volume ?? await volumeOfManifests(store, names, removal.objects) ??
      NO_UUID;
    if (!await isRemovable(store, names, { ...removal, uuid })) return undefined;
    return await neededOfRemoved(store, names, { ...removal, uuid });
  }
  // A later volume of the name may have lost its head: the mark says nothing of its objects.
  if (removal.objects.some((object) => !isOlder(names, object, catalog.removed!))) {
    const marked = await markRemoved(store, names, { ...removal, uuid: catalog.volume });
    if (marked === undefined) return undefined;
  }
  await collectRemoved(store, names, removal.seam);
  return await neededByClones(store, names, (await readCatalog(store, names))?.catalog);
}

/** The volume that the newest manifest is of. */
async function volumeOfManifests(
  store: Store,
  names: ObjectNames,
  objects: readonly string[],
): Promise<string | undefined> {
  const newest = objects.filter((name) => name.startsWith(names.manifests)).sort().at(-1);
  const bytes = newest === undefined ? undefined : (await store.get(newest))?.bytes;
  try {
    return bytes && decodeManifest(bytes).volume;
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}

/** The names of objects that a volume's clones need. */
async function neededByClones(
  store: Store,
  names: ObjectNames,
  catalog: Catalog | undefined,
): Promise<Set<string>> {
  if (catalog === undefined) return new Set();
  const entries = catalog.entries.filter(({ kind }) => kind === "clone");
  return await neededByEntries(store, names, { ...catalog, entries });
}

/**
 * Notes that a volume is being removed: it gets no snapshots, clones or readers any more, and nobody
 * begins to collect its garbage. The next volume of the name begins with numbers that this one has
 * never had, so that whoever is deleting its objects deletes none of the new one's.
 *
 * @returns The catalog, with what is needed for its clones; undefined if it has snapshots that are to be
 *   spared.
 */
async function markRemoved(
  store: Store,
  names: ObjectNames,
  { uuid, objects, spareSnapshots, seam }: Removal,
): Promise<Catalog | undefined> {
  const listed = (prefix: string) =>
    objects.reduce((most, name) => Math.max(most, 1 + (numberOf(name, prefix) ?? 0)), 1);
  let marked: Catalog | undefined = undefined;
  for (let markedAt = -1;;) {
    const manifest = await manifestIfReadable(store, names, uuid);
    const number = manifest?.number ?? 0;
    // Otherwise somebody has committed before the mark, and may have collected by that.
    if (marked !== undefined && number === markedAt) return marked;
    const last = (await readCatalog(store, names))?.catalog;
    // A list does not tell of objects that somebody has deleted by now, and was to delete.
    const skipped = manifest === undefined ? SKIPPED_NUMBERS : 0;
    const from = (prefix: string) => listed(prefix) + skipped;
    const removed = {
      chunk: Math.max(from(names.chunks), manifest?.nextChunk ?? 1, last?.removed?.chunk ?? 1),
      run: Math.max(from(names.runs), manifest?.nextRun ?? 1, last?.removed?.run ?? 1),
      manifest: Math.max(from(names.manifests), number + 1, last?.removed?.manifest ?? 1),
    };
    const volume = uuid ?? manifest?.volume ?? last?.volume ?? NO_UUID;
    let isKept = false;
    marked = await changeCatalog({ store, names, volume, seam }, (catalog) => {
      // In the change that forgets them, so that none is lost that comes meanwhile.
      isKept = spareSnapshots && hasSnapshots(catalog);
      if (isKept) return undefined;
      const entries = catalog.entries.filter(({ kind }) => kind === "clone");
      return { ...catalog, entries, removed };
    });
    if (isKept) return undefined;
    markedAt = number;
  }
}

function hasSnapshots({ entries }: Catalog): boolean {
  return entries.some(({ kind }) => kind === "snapshot");
}

/** The error of a volume that stays because of its snapshots. */
export function keptBySnapshots(name: string): UblkError {
  return new UblkError("VOLUME_BUSY", {
    operation: `remove ${name}`,
    reason: "it has snapshots",
    hint: "remove those first",
  });
}

/** The manifest of the head, if that is of the volume. */
async function manifestIfReadable(
  store: Store,
  names: ObjectNames,
  uuid: string | undefined,
): Promise<Manifest | undefined> {
  try {
    const head = (await readAnyHead(store, names))?.head;
    // A volume that is being made has none.
    if (head === undefined || head.beingMade) return undefined;
    if (uuid !== undefined && head.volume !== uuid) return undefined;
    return await readManifest(store, names, head);
  } catch (error) {
    // One that is damaged can be removed all the same.
    if (error instanceof UblkError && error.code === "VOLUME_DAMAGED") return undefined;
    throw error;
  }
}
