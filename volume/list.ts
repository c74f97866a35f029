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
import { notFound, readHead, readManifest } from "./committed.ts";
import { segmentPaths } from "./journal/files.ts";
import { forgetIdentity, readIdentity } from "./journal/identity.ts";
import { isVolumeName, ObjectNames } from "./names.ts";
import { type StoreLike, storeOf } from "./store_like.ts";
import { lockFolder } from "./take.ts";

/** The names of the volumes in a store, sorted. */
export async function listVolumes(store: StoreLike): Promise<string[]> {
  await using stack = new AsyncDisposableStack();
  const opened = await storeOf(store, stack);
  const found: string[] = [];
  for await (const { name } of opened.list("")) {
    const volume = name.replace(/\/head$/, "");
    if (volume !== name && isVolumeName(volume)) found.push(volume);
  }
  return found.sort();
}

/** A volume's facts. */
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
  /** How often it has been opened for writing. */
  readonly epoch: number;
  /** Who has it open for writing, or has died with it open; undefined if it was left in order. */
  readonly attachedBy: string | undefined;
  /** When it was created. */
  readonly created: Date;
  /** The store has what was answered before this moment. */
  readonly committed: Date;
  /** Bytes of the disk that have contents in the store. */
  readonly mappedBytes: number;
  /** Bytes of all objects with data, what was overwritten included. */
  readonly storedBytes: number;
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
  const found = await readHead(opened, names);
  if (found === undefined) throw notFound(opened, name);
  const { head } = found;
  const manifest = await readManifest(opened, names, head);
  const maps = await loadMaps({ store: opened, names, manifest });
  let storedBytes = 0;
  for await (const { size } of opened.list(`${name}/chunks/`)) storedBytes += size;
  const { size, blockSize, chunkSize } = manifest;
  return {
    ...{ name, uuid: head.volume, size, blockSize, chunkSize, epoch: head.epoch, storedBytes },
    attachedBy: head.attached ? head.host || "somebody" : undefined,
    created: new Date(manifest.created),
    committed: new Date(manifest.time),
    mappedBytes: maps.chunks.mappedBlocks * blockSize,
    writtenBytes: manifest.written,
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
   * The folder of journals. The volume's journal there is removed too.
   *
   * @default The journal stays
   */
  readonly journal?: string;
  /**
   * The files of this machine, for tests.
   *
   * @default The kernel's
   */
  readonly files?: Files;
}

/**
 * Removes a volume.
 *
 * The head goes first: whatever happens after that, there is no such volume any more, and whoever has
 * it open cannot commit. What an interrupted call has left is removed by the next one, and is in
 * nobody's way until then: a new volume of that name has another UUID, and takes numbers that are
 * free.
 *
 * Each object is deleted once and by a name that was listed before the head went, so that nothing of
 * a volume is deleted that is created under the name meanwhile.
 *
 * @throws {UblkError} `VOLUME_NOT_FOUND`, `VOLUME_BUSY`.
 */
export async function removeVolume(
  store: StoreLike,
  name: string,
  { force = false, journal, files = realFiles }: RemoveVolumeOptions = {},
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const opened = await storeOf(store, stack);
  const names = new ObjectNames(name);
  const volume = await headOf(opened, names, force);
  if (journal !== undefined) lockJournal(files, `${journal}/${name}`, stack);
  const objects: string[] = [];
  for await (const object of opened.list(`${name}/`)) {
    if (object.name !== names.head) objects.push(object.name);
  }
  if (volume === undefined && objects.length === 0) throw notFound(opened, name);
  if (volume !== undefined) await opened.delete(names.head);
  if (journal !== undefined) removeJournal(files, `${journal}/${name}`, volume?.uuid);
  for (const object of objects) await opened.delete(object);
}

/** The volume's head, if there is one that may be removed. */
async function headOf(
  store: Store,
  names: ObjectNames,
  force: boolean,
): Promise<{ uuid: string | undefined } | undefined> {
  try {
    const found = await readHead(store, names);
    if (found === undefined) return undefined;
    if (found.head.attached && !force) throw attached(names.volume, found.head.host);
    return { uuid: found.head.volume };
  } catch (error) {
    // One that nobody can read is there all the same.
    const isDamaged = error instanceof UblkError && error.code === "VOLUME_DAMAGED";
    if (!isDamaged || !force) throw error;
    return { uuid: undefined };
  }
}

function attached(name: string, host: string): UblkError {
  return new UblkError("VOLUME_BUSY", {
    operation: `remove ${name}`,
    reason: `${host || "somebody"} has it open, or has died with it open`,
    hint: "close it there first; with force it is removed all the same",
  });
}

function lockJournal(files: Files, folder: string, stack: AsyncDisposableStack): void {
  if (files.status(folder) !== undefined) stack.use(lockFolder(files, folder));
}

/** Removes a volume's journal. The folder stays. */
function removeJournal(files: Files, folder: string, uuid: string | undefined): void {
  if (files.status(folder) === undefined) return;
  const identity = readIdentity(files, folder);
  if (identity === undefined || uuid !== undefined && identity.volume !== uuid) return;
  const paths = segmentPaths(files, folder);
  forgetIdentity(files, folder);
  // From the last on, so that those that remain have no gap.
  for (const path of paths.reverse()) files.remove(path);
  files.syncFolder(folder);
}
