/**
 * The volumes of a store: their names, what is known of each, and how one is removed.
 *
 * @module
 */

import type { Files } from "../files/port.ts";
import { realFiles } from "../files/real.ts";
import type { Store } from "../store/store.ts";
import { UblkError } from "../uapi/error.ts";
import { loadMaps } from "./attach.ts";
import { catalogOf, readCatalog } from "./catalog.ts";
import { cachePath } from "./cache/options.ts";
import { removeCache } from "./cache/remove.ts";
import { notFound, readHead, readManifest, stateOf } from "./state.ts";
import type { CatalogEntry } from "./format/catalog.ts";
import type { Compression } from "./format/compression.ts";
import type { Manifest } from "./format/manifest.ts";
import type { Head } from "./format/head.ts";
import { segmentPaths } from "./journal/files.ts";
import { forgetIdentity, type JournalIdentity, mayBeOf, readIdentity } from "./journal/identity.ts";
import { removeDoor } from "./marks/door.ts";
import { removeMarks } from "./marks/file.ts";
import { isVolumeName, ObjectNames } from "./names.ts";
import { isOwnChunk, sharedAncestors } from "./owners.ts";
import { isRemovable, keptBySnapshots, neededOfRemains, neededOfRemoved } from "./removal.ts";
import { beginRemoval, deleteHead, endRemoval, headNow, removableHead } from "./remove_head.ts";
import { keyOf } from "./opened_store.ts";
import { MACHINE, type Seam } from "./seam.ts";
import { Reach } from "./space/reach.ts";
import { ancestorsIn, manifestsLast, releaseAncestors } from "./space/removed.ts";
import { type StoreLike, storeOf } from "./store_like.ts";
import { lockFolder } from "./take.ts";

/** The names of the volumes in a store, sorted. */
export async function listVolumes(store: StoreLike): Promise<string[]> {
  await using stack = new AsyncDisposableStack();
  const opened = await storeOf(store, stack);
  const found: string[] = [];
  for await (const { name } of opened.list("")) {
    const volume = name.replace(/\/head$/, "");
    if (volume === name || !isVolumeName(volume)) continue;
    if (!await isUnmadeOrRemoved(opened, new ObjectNames(volume))) found.push(volume);
  }
  return found.sort();
}

async function isUnmadeOrRemoved(store: Store, names: ObjectNames): Promise<boolean> {
  try {
    return await readHead(store, names) === undefined;
  } catch (error) {
    // One that is damaged is there.
    if (error instanceof UblkError && error.code === "VOLUME_DAMAGED") return false;
    throw error;
  }
}

/** A volume's facts. Of an encrypted one, some are undefined without its key. */
export interface VolumeInfo {
  /** The name. */
  readonly name: string;
  /** The volume's UUID. */
  readonly uuid: string;
  /** Of the disk, in bytes. */
  readonly size: number;
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Most bytes of an object with data. */
  readonly chunkSize: number;
  /** It is encrypted. */
  readonly encrypted: boolean;
  /** How its data is compressed. */
  readonly compression: Compression;
  /** How often it has been opened for writing. */
  readonly epoch: number;
  /** Who has it open for writing, or has died with it open; undefined if it was left in order. */
  readonly attachedBy: string | undefined;
  /** When it was created. */
  readonly created: Date;
  /** The store has what was answered before this moment. */
  readonly committed: Date;
  /** Bytes of the disk that have contents in the store. */
  readonly mappedBytes: number | undefined;
  /** Those among them that its ancestors, snapshots, clones or readers need too. */
  readonly sharedBytes: number | undefined;
  /** Bytes of data that only snapshots, clones or readers need. */
  readonly keptBytes: number | undefined;
  /** Bytes of all objects with data, what was overwritten included. */
  readonly storedBytes: number;
  /** Bytes of those that nothing needs, with the tables of all; undefined for a volume that compresses. */
  readonly deadBytes: number | undefined;
  /** The number of snapshots. */
  readonly snapshots: number;
  /** The volume that it was cloned from and shares data with; undefined for none. */
  readonly parent: string | undefined;
  /** The names of its clones that share data with it. */
  readonly clones: readonly string[];
  /** Bytes that were ever written to the disk, as far as the store has them. */
  readonly writtenBytes: number;
}

/**
 * The facts of a volume that its store knows.
 *
 * @throws {UblkError} `VOLUME_NOT_FOUND`, `VOLUME_DAMAGED`.
 */
export async function volumeInfo(store: StoreLike, name: string): Promise<VolumeInfo> {
  await using stack = new AsyncDisposableStack();
  const opened = await storeOf(store, stack);
  const names = new ObjectNames(name);
  for (;;) {
    const state = await stateOf(opened, names);
    try {
      return await infoOf(opened, names, state);
    } catch (error) {
      if (!(error instanceof UblkError) || error.code !== "VOLUME_DAMAGED") throw error;
      // Objects go beside us that only this state has, once there is a newer one.
      const now = await readHead(opened, names);
      if (now?.head.manifest === state.head.manifest) throw error;
    }
  }
}

async function infoOf(
  store: Store,
  names: ObjectNames,
  { head, manifest }: { readonly head: Head; readonly manifest: Manifest },
): Promise<VolumeInfo> {
  const { size, blockSize, chunkSize, volume, compression = "none" } = manifest;
  const { entries } = await catalogOf(store, names, volume);
  let storedBytes = 0;
  for await (const { size } of store.list(names.chunks)) storedBytes += size;
  const encrypted = head.encrypted === true;
  const isLocked = encrypted && keyOf(store) === undefined;
  const reached = isLocked ? undefined : await reachOf(store, names, manifest, entries);
  return {
    ...{ name: names.volume, uuid: volume, size, blockSize, chunkSize, epoch: head.epoch },
    ...{ encrypted, compression, storedBytes },
    mappedBytes: reached?.mappedBytes,
    sharedBytes: reached?.sharedBytes,
    keptBytes: reached?.keptBytes,
    // Only the chunks themselves tell what they would have without being compressed.
    deadBytes: reached && compression === "none"
      ? Math.max(0, storedBytes - reached.ownBytes - reached.keptBytes)
      : undefined,
    snapshots: entries.filter(({ kind }) => kind === "snapshot").length,
    parent: sharedAncestors(names, manifest).at(-1)?.name,
    clones: entries.filter(({ kind }) => kind === "clone").map((entry) => entry.name),
    attachedBy: head.attached ? head.host || "somebody" : undefined,
    created: new Date(manifest.created),
    committed: new Date(manifest.time),
    writtenBytes: manifest.written,
  };
}

/** What a volume needs, and what its snapshots, clones and readers do. */
async function reachOf(
  store: Store,
  names: ObjectNames,
  manifest: Manifest,
  entries: readonly CatalogEntry[],
): Promise<{ ownBytes: number; mappedBytes: number; sharedBytes: number; keptBytes: number }> {
  const { blockSize, chunkSize, volume } = manifest;
  const { chunks } = await loadMaps({ store, names, manifest });
  const live = new Reach(chunkSize / blockSize);
  live.add(chunks, (chunk) => isOwnChunk(names, manifest, chunk));
  const foreign = new Reach(chunkSize / blockSize);
  foreign.add(chunks, (chunk) => !isOwnChunk(names, manifest, chunk));
  const kept = new Reach(chunkSize / blockSize);
  const roots = new Map(entries.map((entry) => [entry.manifest, entry]));
  for (const root of roots.values()) {
    const older = await readManifest(store, names, { ...root, volume });
    const { chunks } = await loadMaps({ store, names, manifest: older });
    kept.add(chunks, (chunk) => isOwnChunk(names, older, chunk));
  }
  const ownBytes = live.blocks * blockSize;
  const foreignBytes = foreign.blocks * blockSize;
  const keptToo = live.sharedWith(kept) * blockSize;
  return {
    ownBytes,
    ...{ mappedBytes: ownBytes + foreignBytes, sharedBytes: keptToo + foreignBytes },
    keptBytes: kept.blocks * blockSize - keptToo,
  };
}

/** Options of {@linkcode removeVolume}. */
export interface RemoveVolumeOptions {
  /**
   * Remove it although somebody has it open, or has died with it open.
   *
   * @default false
   */
  readonly force?: boolean;
  /**
   * Refuse to remove it with its snapshots.
   *
   * @default false
   */
  readonly spareSnapshots?: boolean;
  /**
   * The UUID of the only volume that is removed: of any other there is none, also if it has the name by
   * now.
   *
   * @default Whichever has the name
   */
  readonly uuid?: string;
  /**
   * The folder of journals. The volume's journal there is removed too.
   *
   * @default The journal stays
   */
  readonly journal?: string;
  /**
   * The folder of caches. The volume's cache there is removed too, unless somebody uses it.
   *
   * @default The folder of journals
   */
  readonly cacheDir?: string;
  /**
   * The files of this machine, for tests.
   *
   * @default The kernel's
   */
  readonly files?: Files;
  /**
   * Time and randomness, for tests.
   *
   * @default The machine's
   */
  readonly seam?: Seam;
}

/**
 * Removes a volume, with its snapshots. What its clones share stays, and is removed with the last of
 * them; until then no other volume can have the name.
 *
 * First its head says that it is being removed: whatever happens after that, there is no such volume any
 * more, and whoever has it open cannot commit. A call that is refused before has changed nothing. Then its
 * catalog is marked, and stays, and the head goes. What an interrupted call has left is removed by the next
 * one, and is in nobody's way until then: a new volume of that name has another UUID, and takes numbers
 * that are free.
 *
 * Each object is deleted by a name that was listed before the head went, so that nothing of a volume is
 * deleted that is created under the name meanwhile.
 *
 * @throws {UblkError} `VOLUME_NOT_FOUND`; `VOLUME_BUSY` if it is attached, or has snapshots that are to
 *   be spared; `VOLUME_DAMAGED` if an object is missing or damaged that says what its clones need;
 *   `VOLUME_KEY` if it is encrypted, has clones, and the store was opened without its key.
 */
export async function removeVolume(
  store: StoreLike,
  name: string,
  options: RemoveVolumeOptions = {},
): Promise<void> {
  const { force = false, spareSnapshots = false, journal } = options;
  const { files = realFiles, seam = MACHINE, cacheDir = journal } = options;
  await using stack = new AsyncDisposableStack();
  const opened = await storeOf(store, stack);
  const names = new ObjectNames(name);
  const found = await removableHead(opened, names, force);
  const { uuid = found?.head?.volume } = options;
  if (found?.head !== undefined && found.head.volume !== uuid) throw notFound(opened, name);
  if (journal !== undefined) lockJournal(files, `${journal}/${name}`, stack);
  const removal = { uuid, spareSnapshots, seam };
  if (found !== undefined && !await isRemovable(opened, names, removal)) {
    // A call that was interrupted may have begun, and not have found them.
    await endRemoval(opened, names, found, seam);
    throw keptBySnapshots(name);
  }
  let begun = found && await beginRemoval(opened, names, found, { force, spareSnapshots, seam });
  const objects: string[] = [];
  for await (const object of opened.list(`${name}/`)) {
    if (object.name !== names.head && object.name !== names.catalog) objects.push(object.name);
  }
  if (found === undefined && objects.length === 0) throw notFound(opened, name);
  const now = await headNow(opened, names, begun);
  // These may be that one's objects.
  if (now === "another") return;
  // Whoever was faster may have been interrupted.
  if (now === "gone") begun = undefined;
  const needed = begun === undefined
    ? await neededOfRemains(opened, names, { ...removal, objects })
    : await neededOfRemoved(opened, names, { ...removal, objects });
  if (needed === undefined) {
    if (begun !== undefined) await endRemoval(opened, names, begun, seam);
    throw keptBySnapshots(name);
  }
  // Who makes a volume of the name from here on begins with numbers after the mark.
  if (begun !== undefined) await deleteHead(opened, names, begun);
  else if (await headNow(opened, names, undefined) === "another") return;
  const marked = (await readCatalog(opened, names))?.catalog;
  // Nobody else's journal or cache may go.
  const isItsOwn = marked?.removed !== undefined &&
    (begun === undefined || uuid === undefined || marked.volume === uuid);
  if (journal !== undefined && isItsOwn) removeJournal(files, `${journal}/${name}`, marked);
  await releaseAncestors(opened, await ancestorsIn(opened, names, objects), seam);
  for (const object of manifestsLast(names, objects, (object) => object)) {
    if (!needed.has(object)) await opened.delete(object, { neverReused: true });
  }
  // In nobody's way, and perhaps another user's.
  if (cacheDir !== undefined && isItsOwn) removeCache(files, cachePath(cacheDir, name), marked);
}

/** Locks a volume's journal, if there is one. @throws {UblkError} `VOLUME_BUSY` */
export function lockJournal(files: Files, folder: string, stack: AsyncDisposableStack): void {
  if (files.status(folder) !== undefined) stack.use(lockFolder(files, folder));
}

/**
 * Removes a volume's journal. The folder stays.
 *
 * @param volume The volume; undefined for whichever is there.
 */
export function removeJournal(
  files: Files,
  folder: string,
  volume: Pick<JournalIdentity, "volume" | "copy"> | undefined,
): void {
  if (files.status(folder) === undefined) return;
  const identity = readIdentity(files, folder);
  if (identity === undefined || volume !== undefined && !mayBeOf(identity, volume)) return;
  const paths = segmentPaths(files, folder);
  forgetIdentity(files, folder);
  // From the last on, so that those that remain have no gap.
  for (const path of paths.reverse()) files.remove(path);
  removeMarks(files, folder);
  removeDoor(files, folder);
  files.syncFolder(folder);
}
