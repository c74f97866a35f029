/**
 * The collection of garbage: deletes the objects of a volume that no state needs which still counts.
 *
 * It judges by a _base_: a manifest that the head names, or has named, and that every reader of the
 * volume has reached who is not in the catalog. It keeps
 *
 * - what the base, the head's manifest and all manifests in the catalog reach, and
 * - every object whose number the base does not know yet. Later commits name such objects, and of the
 *   older ones only what the base reaches, too.
 *
 * So it needs no hold on the volume and excludes nobody: it may run beside commits, beside snapshots
 * (see `catalog.ts`), and twice at a time. It is never in a hurry: after any failure nothing is lost
 * but the rest of the work. A writer that was fenced cannot commit any more, and one that is alive
 * takes no number that the base knows; so what neither has committed goes with the rest.
 *
 * @module
 */

import type { Store } from "../../store/store.ts";
import { assert, isUblkError } from "../../uapi/error.ts";
import { loadMaps } from "../attach.ts";
import { catalogOf, changeCatalog } from "../catalog.ts";
import { type ManifestName, readHead, readManifest } from "../committed.ts";
import type { Catalog } from "../format/catalog.ts";
import type { Manifest } from "../format/manifest.ts";
import { numberOf, type ObjectNames } from "../names.ts";
import type { Seam } from "../seam.ts";
import { READER_MS } from "../snapshots.ts";
import { Reach } from "./reach.ts";

/** What a collection has freed. */
export interface Freed {
  /** Objects that were deleted. */
  readonly objects: number;
  /** Their bytes. */
  readonly bytes: number;
  /** Chunks among them. */
  readonly chunks: number;
  /** Bytes of data that some state still needs. */
  readonly neededBytes: number;
}

/** The parts of a collection. */
export interface CollectParts {
  /** The store. */
  readonly store: Store;
  /** The names of the volume's objects. */
  readonly names: ObjectNames;
  /** The base. */
  readonly base: ManifestName;
  /** Time and randomness. */
  readonly seam: Seam;
  /** Whether to leave it at that, asked before each call to the store. */
  readonly isOver?: () => boolean;
}

/**
 * Deletes what is not needed.
 *
 * @returns Undefined if the base is too old by now, or the volume is another one: nothing was deleted.
 * @throws {UblkError} `VOLUME_DAMAGED` if an object is missing or damaged that says what is needed:
 *   nothing was deleted.
 * @throws {StoreError}
 */
export async function collectGarbage(parts: CollectParts): Promise<Freed | undefined> {
  const { store, names, base: { volume, manifest: number }, seam, isOver = () => false } = parts;
  const catalog = await changeCatalog({ store, names, volume, seam }, (before) => {
    const entries = before.entries.filter(({ kind, time }) =>
      kind !== "reader" || time + READER_MS > seam.now()
    );
    if (isPast(before, number)) return undefined;
    const isSame = before.floor === number && entries.length === before.entries.length;
    return isSame ? undefined : { ...before, entries, floor: number };
  });
  if (isPast(catalog, number)) return undefined;
  let needed: Needed | undefined;
  try {
    needed = await neededBy(parts, catalog);
  } catch (error) {
    if (!isUblkError(error) || error.code !== "VOLUME_DAMAGED") throw error;
    // An entry was removed, or somebody has a newer base; and others have collected meanwhile.
    const isOld = (await catalogOf(store, names, volume)).nonce !== catalog.nonce;
    if (!isOld) throw error;
    return await collectGarbage(parts);
  }
  if (needed === undefined) return undefined;
  let freed: Freed = { objects: 0, bytes: 0, chunks: 0, neededBytes: needed.bytes };
  for (const { prefix, isNeeded } of needed.kinds) {
    for (const { name, bytes } of await unneeded(store, prefix, isNeeded)) {
      if (isOver() || (await readHead(store, names))?.head.volume !== volume) return freed;
      await store.delete(name);
      freed = {
        ...freed,
        objects: freed.objects + 1,
        bytes: freed.bytes + bytes,
        chunks: freed.chunks + (prefix === names.chunks ? 1 : 0),
      };
    }
  }
  return freed;
}

/** Whether a manifest cannot be a base any more. */
function isPast({ removed, floor, least }: Catalog, number: number): boolean {
  return removed !== undefined || number < Math.max(floor, least);
}

/** The objects that are needed. */
interface Needed {
  /** By how their names begin. */
  readonly kinds: readonly {
    readonly prefix: string;
    readonly isNeeded: (number: number) => boolean;
  }[];
  /** Bytes of data. */
  readonly bytes: number;
}

/** Reads everything that says what is needed. */
async function neededBy(
  { store, names, base }: CollectParts,
  catalog: Catalog,
): Promise<Needed | undefined> {
  const { volume } = base;
  // After the catalog: it is of the base, or newer.
  const found = await readHead(store, names);
  if (found?.head.volume !== volume) return undefined;
  const roots = new Map<number, ManifestName>();
  for (const root of [base, found.head, ...catalog.entries]) {
    roots.set(root.manifest, { ...root, volume });
  }
  const manifests: Manifest[] = [];
  for (const root of roots.values()) manifests.push(await readManifest(store, names, root));
  const { blockSize, chunkSize, nextChunk, nextRun } = manifests[0];
  assert(manifests[0].number === base.manifest, "the base is the first");
  const reach = new Reach(chunkSize / blockSize);
  const runs = new Set<number>();
  for (const manifest of manifests) {
    for (const run of manifest.runs) runs.add(run.number);
    reach.add((await loadMaps({ store, names, manifest })).chunks);
  }
  return {
    kinds: [
      { prefix: names.chunks, isNeeded: (number) => number >= nextChunk || reach.has(number) },
      { prefix: names.runs, isNeeded: (number) => number >= nextRun || runs.has(number) },
      {
        prefix: names.manifests,
        isNeeded: (number) => number >= base.manifest || roots.has(number),
      },
    ],
    bytes: reach.blocks * blockSize,
  };
}

async function unneeded(
  store: Store,
  prefix: string,
  isNeeded: (number: number) => boolean,
): Promise<{ name: string; bytes: number }[]> {
  const found = [];
  for await (const { name, size } of store.list(prefix)) {
    const number = numberOf(name, prefix);
    if (number !== undefined && !isNeeded(number)) found.push({ name, bytes: size });
  }
  return found;
}
