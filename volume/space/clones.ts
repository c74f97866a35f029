/**
 * Whether a clone still needs what its source keeps for it. Nobody has to tell the source: whoever
 * collects its garbage looks at its clones, and an entry goes once it is certain for good that nothing
 * of the clone needs it. That is so if
 *
 * - neither the clone's head nor an entry of its catalog has the source among its ancestors, and none
 *   that has can become either: names for older manifests are excluded by the floor, and a rollback
 *   that is under way by `least`; or
 * - the clone was removed, and no clone of its own is left that needs the source; or
 * - its making was given up.
 *
 * @module
 */

import type { Store } from "../../store/store.ts";
import { isUblkError } from "../../uapi/error.ts";
import { readCatalog } from "../catalog.ts";
import { sideBySide } from "../drain/side_by_side.ts";
import { decoded, readAnyHead, readManifest, type VersionedHead } from "../state.ts";
import type { Catalog, CatalogEntry, FirstNumbers } from "../format/catalog.ts";
import type { Ancestor } from "../format/manifest.ts";
import { encodeHead } from "../format/head.ts";
import { Fields, volumeOfRecord } from "../format/record.ts";
import { numberOf, ObjectNames } from "../names.ts";
import type { Seam } from "../seam.ts";
import { READER_MS } from "../snapshots.ts";

/** How long a clone may take to be made, in milliseconds: one hour. Then it is given up. */
export const MAKING_MS: number = 3600 * 1000;

/** A volume that has clones. */
type Source = Pick<Ancestor, "name" | "volume">;

/** Clones that are looked at at a time: each look is a few requests, one after the other. */
const AT_ONCE = 8;

/**
 * Looks at the clones of a source, at each of them once. A change of the catalog is made anew whenever
 * another one has come first, as a new clone does. Each attempt once looked at all clones again: a source
 * with a thousand of them hardly got a change through as long as others were made. What was found before
 * may be used: a clone that has ended has ended for good, and one that had not may be kept.
 */
export class CloneLooks {
  /** Whether a clone needs its entry, by the clone's UUID. */
  readonly #isNeeded = new Map<string, boolean>();
  readonly #store: Store;
  readonly #source: Source;
  readonly #seam: Seam;

  /** For one change of the catalog of a volume, however many attempts it takes. */
  constructor(store: Store, { volume: name }: ObjectNames, volume: string, seam: Seam) {
    this.#store = store;
    this.#source = { name, volume };
    this.#seam = seam;
  }

  /** The entries of the catalog without those whose clones do not need them any more. */
  async withoutEnded(entries: readonly CatalogEntry[]): Promise<CatalogEntry[]> {
    const fresh = entries.filter(({ kind, id }) => kind === "clone" && !this.#isNeeded.has(id));
    await sideBySide(fresh, AT_ONCE, async (entry) => {
      this.#isNeeded.set(entry.id, await isNeeded(this.#store, this.#source, entry, this.#seam));
    });
    return entries.filter(({ kind, id }) => kind !== "clone" || this.#isNeeded.get(id)!);
  }
}

/** Whether a clone needs a source's entry. What cannot be read is needed. */
async function isNeeded(
  store: Store,
  source: Source,
  entry: CatalogEntry,
  seam: Seam,
): Promise<boolean> {
  try {
    return await needs(store, source, entry, seam);
  } catch (error) {
    if (isUblkError(error) && error.code === "VOLUME_DAMAGED") return true;
    throw error;
  }
}

async function needs(
  store: Store,
  source: Source,
  entry: CatalogEntry,
  seam: Seam,
): Promise<boolean> {
  const names = new ObjectNames(entry.name);
  const found = await readAnyHead(store, names, { settled: true });
  const catalog = (await readCatalog(store, names, { settled: true }))?.catalog;
  // Both were so at one moment if neither head nor catalog has changed around the other.
  if ((await readAnyHead(store, names))?.version !== found?.version) return true;
  const own = catalog?.volume === entry.id ? catalog : undefined;
  if (found?.head.volume !== entry.id) {
    // A head that is lost can be made again. One that was removed leaves a catalog that says so.
    if (found === undefined && own !== undefined && own.removed === undefined) return true;
    // Without that, only the clone's manifests tell it from one that was removed long ago.
    const isLost = found === undefined && own === undefined &&
      (catalog === undefined || await hasManifest(store, names, entry.id, catalog.removed));
    if (isLost) return true;
    return own !== undefined && await doEntriesReach(store, names, own, source, seam);
  }
  if (found.head.beingMade) return !await giveUp(store, names, found, entry, seam);
  const { floor = 0, least = 0 } = own ?? {};
  const { ancestors, since } = await readManifest(store, names, found.head);
  const mayGoBack = found.head.manifest < least || since > floor;
  return mayGoBack || isAmong(ancestors, source) ||
    own !== undefined && await doEntriesReach(store, names, own, source, seam);
}

/**
 * Whether there is a manifest of a volume, or one that nobody can read.
 *
 * @param removed Manifests before that are being deleted: an interrupted making of the clone left them.
 */
async function hasManifest(
  store: Store,
  names: ObjectNames,
  volume: string,
  removed: FirstNumbers | undefined,
): Promise<boolean> {
  for await (const { name } of store.list(names.manifests)) {
    if (numberOf(name, names.manifests)! < (removed?.manifest ?? 0)) continue;
    const bytes = (await store.get(name))?.bytes;
    if (bytes === undefined) continue;
    if (decoded(store, name, () => volumeOfRecord(new Fields(bytes))) === volume) return true;
  }
  return false;
}

/** The copy of a clone has its ancestors' UUIDs, and not their names. */
function isAmong(ancestors: readonly Source[], source: Source): boolean {
  return ancestors.some(({ name, volume }) => name === source.name && volume === source.volume);
}

/** Whether an entry of a clone's catalog has a source among its ancestors. */
async function doEntriesReach(
  store: Store,
  names: ObjectNames,
  { volume, entries }: Catalog,
  source: Source,
  seam: Seam,
): Promise<boolean> {
  for (const entry of entries) {
    if (entry.kind === "reader" && entry.time + READER_MS <= seam.now()) continue;
    const { ancestors } = await readManifest(store, names, { ...entry, volume });
    if (isAmong(ancestors, source)) return true;
  }
  return false;
}

/** Gives up a clone that is being made for too long. @returns Whether it cannot come to be any more. */
async function giveUp(
  store: Store,
  names: ObjectNames,
  { head, version }: VersionedHead,
  entry: CatalogEntry,
  seam: Seam,
): Promise<boolean> {
  if (entry.time + MAKING_MS > seam.now()) return false;
  // Its maker replaces the version that he has put, and no other.
  const other = encodeHead({ ...head, nonce: seam.uuid(), time: seam.now() });
  return await store.replace(names.head, other, version) !== undefined;
}
