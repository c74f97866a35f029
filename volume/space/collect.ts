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
import { type ManifestName, readHead, readManifest } from "../state.ts";
import type { Catalog } from "../format/catalog.ts";
import type { Manifest } from "../format/manifest.ts";
import type { BlockMap } from "../map/block_map.ts";
import { numberOf, type ObjectNames } from "../names.ts";
import { isOwnChunk, isOwnRun } from "../owners.ts";
import type { Seam } from "../seam.ts";
import { READER_MS } from "../snapshots.ts";
import { CloneLooks } from "./clones.ts";
import { Reach } from "./reach.ts";

/** What a collection has freed. */
export interface Freed {
  /** Objects that were deleted. */
  readonly objects: number;
  /** Their bytes. */
  readonly bytes: number;
  /** Chunks among them. */
  readonly chunks: number;
  /** Bytes of the volume's own data that some state still needs. */
  readonly neededBytes: number;
}

/** A chunk that has data which only the volume's present needs. */
export interface HeldChunk {
  /** Its number. */
  readonly chunk: number;
  /** Bytes of the object, or of its plain form ({@linkcode PlainSizes}). */
  readonly bytes: number;
  /** Bytes of data that are needed. */
  readonly neededBytes: number;
}

/** A collection's outcome, and what it has found on its way. */
export interface Collected extends Freed {
  /** The base. */
  readonly manifest: Manifest;
  /** Its map of chunks. */
  readonly map: BlockMap;
  /** The chunks that are left, with their bytes. */
  readonly left: readonly Pick<Listed, "number" | "bytes">[];
  /** Their bytes in all. */
  readonly storedBytes: number;
  /** The chunks that are left and that neither a snapshot nor a clone nor a reader needs. */
  readonly held: readonly HeldChunk[];
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
  /** Called after each object that was deleted, with how many there are to delete as far as is known. */
  readonly onProgress?: (done: number, total: number) => void;
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
export async function collectGarbage(parts: CollectParts): Promise<Collected | undefined> {
  const { store, names, base: { volume, manifest: number }, seam, isOver = () => false } = parts;
  let total = 0;
  const looks = new CloneLooks(store, names, volume, seam);
  const catalog = await changeCatalog({ store, names, volume, seam }, async (before) => {
    if (isPast(before, number)) return undefined;
    const living = before.entries.filter(({ kind, time }) =>
      kind !== "reader" || time + READER_MS > seam.now()
    );
    const entries = await looks.withoutEnded(living);
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
  let freed: Collected = {
    ...{ objects: 0, bytes: 0, chunks: 0, neededBytes: needed.bytes },
    ...{ manifest: needed.manifest, map: needed.map, left: [], storedBytes: 0, held: [] },
  };
  for (const { prefix, isNeeded } of needed.kinds) {
    const { left, unneeded } = await listed(store, prefix, isNeeded);
    // One look is enough, whatever becomes of the volume from now on. What was listed has numbers
    // below those that the base knew as the next ones. If the volume is removed, the next one of its
    // name begins with numbers that it has never had (`markRemoved` in `removal.ts`); a rollback and a
    // later writer go on counting. So none of these names is ever given to another object.
    if ((await readHead(store, names))?.head.volume !== volume) return freed;
    if (prefix === names.chunks) freed = { ...freed, ...needed.held(left) };
    total += unneeded.length;
    for (const { name, bytes } of unneeded) {
      if (isOver()) return freed;
      await store.delete(name, { neverReused: true });
      freed = {
        ...freed,
        objects: freed.objects + 1,
        bytes: freed.bytes + bytes,
        chunks: freed.chunks + (prefix === names.chunks ? 1 : 0),
      };
      parts.onProgress?.(freed.objects, total);
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
  /** The base. */
  readonly manifest: Manifest;
  /** Its map of chunks. */
  readonly map: BlockMap;
  /** Looks at the chunks that are left. */
  readonly held: (left: readonly Listed[]) => Pick<Collected, "left" | "storedBytes" | "held">;
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
  const others = new Reach(chunkSize / blockSize);
  const runs = new Set<number>();
  const named = new Set(catalog.entries.map((entry) => entry.manifest));
  let map: BlockMap | undefined = undefined;
  for (const manifest of manifests) {
    for (const { number } of manifest.runs) {
      if (isOwnRun(names, manifest, number)) runs.add(number);
    }
    const { chunks } = await loadMaps({ store, names, manifest });
    // A clone's ancestors keep their own objects.
    const isOwn = (chunk: number) => isOwnChunk(names, manifest, chunk);
    reach.add(chunks, isOwn);
    if (named.has(manifest.number)) others.add(chunks, isOwn);
    map ??= chunks;
  }
  const held = (left: readonly Listed[]) => ({
    left,
    storedBytes: left.reduce((sum, { bytes }) => sum + bytes, 0),
    held: left.filter(({ number }) => reach.has(number) && !others.has(number)).map(
      ({ number, bytes }) => {
        return { chunk: number, bytes, neededBytes: reach.blocksOf(number) * blockSize };
      },
    ),
  });
  return {
    ...{ manifest: manifests[0], map: map!, held },
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

interface Listed {
  readonly name: string;
  readonly number: number;
  readonly bytes: number;
}

async function listed(
  store: Store,
  prefix: string,
  isNeeded: (number: number) => boolean,
): Promise<{ left: Listed[]; unneeded: Listed[] }> {
  const found: { left: Listed[]; unneeded: Listed[] } = { left: [], unneeded: [] };
  for await (const { name, size: bytes } of store.list(prefix)) {
    const number = numberOf(name, prefix);
    if (number === undefined) continue;
    (isNeeded(number) ? found.left : found.unneeded).push({ name, number, bytes });
  }
  return found;
}
