/**
 * The remains of removed volumes: what their clones still need stays, under the catalog that says so.
 * It goes when the last of them has been removed, or flattened.
 *
 * @module
 */

import type { Store } from "../../store/store.ts";
import { isUblkError } from "../../uapi/error.ts";
import { loadMaps } from "../attach.ts";
import { changeCatalog, readCatalog } from "../catalog.ts";
import { decoded, readAnyHead, readManifest } from "../state.ts";
import type { Catalog, FirstNumbers } from "../format/catalog.ts";
import { type Ancestor, decodeManifest } from "../format/manifest.ts";
import { numberOf, ObjectNames } from "../names.ts";
import { isOwnChunk, isOwnRun, sharedAncestors } from "../owners.ts";
import type { Seam } from "../seam.ts";
import { chunkOf } from "../format/place.ts";
import { CloneLooks } from "./clones.ts";
import type { Freed } from "./collect.ts";

/** The names of a volume's own objects that entries of its catalog need, its key among them. */
export async function neededByEntries(
  store: Store,
  names: ObjectNames,
  { volume, entries }: Pick<Catalog, "volume" | "entries">,
): Promise<Set<string>> {
  const needed = new Set<string>();
  const roots = new Map(entries.map((entry) => [entry.manifest, { ...entry, volume }]));
  // Whoever collects the remains of a volume must be able to read which ones are needed.
  if (roots.size > 0) needed.add(names.key(volume));
  for (const root of roots.values()) {
    const manifest = await readManifest(store, names, root);
    needed.add(names.manifest(manifest.number));
    for (const { number } of manifest.runs) {
      if (isOwnRun(names, manifest, number)) needed.add(names.run(number));
    }
    const { chunks } = await loadMaps({ store, names, manifest });
    const numbers = new Set<number>();
    for (const cursor = chunks.cursor(); cursor.next();) numbers.add(chunkOf(cursor.place));
    for (const number of numbers) {
      if (isOwnChunk(names, manifest, number)) needed.add(names.chunk(number));
    }
  }
  return needed;
}

/**
 * The ancestors of a volume's manifests, as far as these can be read, the newest first.
 *
 * @param objects The names of all its objects.
 */
export async function ancestorsIn(
  store: Store,
  names: ObjectNames,
  objects: readonly string[],
): Promise<Ancestor[]> {
  const found = new Map<string, Ancestor>();
  for (const object of objects) {
    if (numberOf(object, names.manifests) === undefined) continue;
    for (const ancestor of (await ancestorsOf(store, names, object)).reverse()) {
      found.set(`${ancestor.name} ${ancestor.volume}`, ancestor);
    }
  }
  return [...found.values()].sort((left, right) =>
    right.chunk - left.chunk || right.run - left.run
  );
}

async function ancestorsOf(store: Store, names: ObjectNames, object: string): Promise<Ancestor[]> {
  const bytes = (await store.get(object))?.bytes;
  if (bytes === undefined) return [];
  try {
    return sharedAncestors(names, decoded(store, object, () => decodeManifest(bytes)));
  } catch (error) {
    if (isUblkError(error) && error.code === "VOLUME_DAMAGED") return [];
    throw error;
  }
}

/**
 * Lets go of ancestors: their entries for clones that do not need them any more go at once, and the
 * remains of those that were removed. Those that live get their space back with their next collection.
 * Without the key of encrypted ones, remains of which a part is needed stay until there is a key, or
 * until nothing needs them.
 *
 * @param ancestors The newest first: what one has let go of, older ones need not keep for it.
 */
export async function releaseAncestors(
  store: Store,
  ancestors: readonly Ancestor[],
  seam: Seam,
): Promise<void> {
  for (const { name, volume } of ancestors) {
    const names = new ObjectNames(name);
    const catalog = (await readCatalog(store, names))?.catalog;
    if (catalog?.volume !== volume) continue;
    if (catalog.removed !== undefined) {
      await unlessLocked(() => collectRemoved(store, names, seam));
    } else await dropEndedClones(store, names, volume, seam);
  }
}

/** Does something, unless a volume is encrypted and there is no key; undefined then. */
export async function unlessLocked<T>(run: () => Promise<T>): Promise<T | undefined> {
  try {
    return await run();
  } catch (error) {
    if (isUblkError(error) && error.code === "VOLUME_KEY") return undefined;
    throw error;
  }
}

async function dropEndedClones(
  store: Store,
  names: ObjectNames,
  volume: string,
  seam: Seam,
): Promise<Catalog> {
  const looks = new CloneLooks(store, names, volume, seam);
  return await changeCatalog({ store, names, volume, seam }, async (before) => {
    const entries = await looks.withoutEnded(before.entries);
    return entries.length === before.entries.length ? undefined : { ...before, entries };
  });
}

/**
 * Deletes what no clone of a removed volume needs any more.
 *
 * @returns Undefined if no volume of that name was removed, or its removal is not over.
 * @throws {UblkError} `VOLUME_DAMAGED` if an object is missing or damaged that says what is needed, or
 *   `VOLUME_KEY` if it is encrypted and the store was opened without its key: nothing was deleted.
 */
export async function collectRemoved(
  store: Store,
  names: ObjectNames,
  seam: Seam,
): Promise<Freed | undefined> {
  for (;;) {
    const found = (await readCatalog(store, names))?.catalog;
    if (found?.removed === undefined) return undefined;
    if (await readAnyHead(store, names, { settled: true }) !== undefined) return undefined;
    const { volume, removed } = found;
    const catalog = await dropEndedClones(store, names, volume, seam);
    let needed: Set<string>;
    try {
      needed = await neededByEntries(store, names, catalog);
    } catch (error) {
      if (!isUblkError(error) || error.code !== "VOLUME_DAMAGED") throw error;
      // Somebody else has dropped an entry meanwhile, and collected.
      if ((await readCatalog(store, names))?.catalog.nonce === catalog.nonce) throw error;
      continue;
    }
    let freed = { objects: 0, bytes: 0, chunks: 0, neededBytes: 0 };
    const unneeded: { readonly name: string; readonly size: number }[] = [];
    for await (const object of store.list(`${names.volume}/`)) {
      // A new volume of the name begins with newer numbers.
      const isOld = isOlder(names, object.name, removed) || object.name === names.key(volume);
      if (isOld && !needed.has(object.name)) unneeded.push(object);
    }
    const ancestors = await ancestorsIn(store, names, unneeded.map(({ name }) => name));
    await releaseAncestors(store, ancestors, seam);
    for (const { name, size } of manifestsLast(names, unneeded, ({ name }) => name)) {
      await store.delete(name, { neverReused: true });
      freed = {
        ...{ objects: freed.objects + 1, bytes: freed.bytes + size, neededBytes: 0 },
        chunks: freed.chunks + (name.startsWith(names.chunks) ? 1 : 0),
      };
    }
    return freed;
  }
}

/** Whether an object has a number before the first of the next volume of the name. */
export function isOlder(names: ObjectNames, object: string, first: FirstNumbers): boolean {
  return (numberOf(object, names.chunks) ?? Infinity) < first.chunk ||
    (numberOf(object, names.runs) ?? Infinity) < first.run ||
    (numberOf(object, names.manifests) ?? Infinity) < first.manifest;
}

/** Objects in an order in which manifests, which name a volume's ancestors, are the last. */
export function manifestsLast<T>(
  names: ObjectNames,
  objects: readonly T[],
  nameOf: (object: T) => string,
): T[] {
  const isManifest = (object: T) => Number(nameOf(object).startsWith(names.manifests));
  return objects.toSorted((left, right) => isManifest(left) - isManifest(right));
}
