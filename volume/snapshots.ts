/**
 * Snapshots: names for states that a volume has had. A manifest is immutable and describes the whole
 * volume between two writes, so a snapshot is an entry of the catalog that names one. It costs the
 * same whatever the volume's size, and its data stays as long as the entry.
 *
 * @module
 */

import { realFiles } from "../files/real.ts";
import { retried } from "../store/retry.ts";
import { type Store, StoreError } from "../store/store.ts";
import { startIdleTimer } from "../store/timer.ts";
import { isUblkError, UblkError } from "../uapi/error.ts";
import { catalogOf, type CatalogPlace, changeCatalog, checkNotRemoved } from "./catalog.ts";
import { notFound, readHead, readManifest, stateOf } from "./state.ts";
import type { Catalog, CatalogEntry } from "./format/catalog.ts";
import type { Head } from "./format/head.ts";
import type { Manifest } from "./format/manifest.ts";
import { marksOf, takeMark, waitForEntry } from "./marks/take.ts";
import { checkedSnapshotName, ObjectNames, type VolumeReference } from "./names.ts";
import { MACHINE, type Seam } from "./seam.ts";
import { type StoreLike, storeOf } from "./store_like.ts";
import { waitForStore, type WaitForStoreOptions } from "./wait_for_store.ts";

/** How long a store that fails is asked again, in milliseconds. */
const PATIENCE_MS = 30_000;
/** How long a reader's entry counts, in milliseconds: one day. */
export const READER_MS: number = 24 * 3600 * 1000;
/** How often a reader renews it, in milliseconds: every four hours. A store may be away for some. */
const RENEW_MS = READER_MS / 6;

/** Options of {@linkcode createSnapshot}. */
export interface SnapshotOptions extends Partial<WaitForStoreOptions> {
  /**
   * The folder of journals. What the volume's journal has is in the snapshot too.
   *
   * @default The snapshot is of the last state that the store has
   */
  readonly journal?: string;
  /**
   * Wait until the store has it. Otherwise the snapshot of a volume that is attached here is taken once
   * it is durable on this machine, as a FLUSH is: it is lost only with the journal, and the volume's
   * server brings it to the store.
   *
   * @default false
   */
  readonly wait?: boolean;
  /**
   * How long a store that fails is tried again, in milliseconds.
   *
   * @default 30 s
   */
  readonly patienceMs?: number;
  /**
   * Time and randomness, for tests.
   *
   * @default The machine's
   */
  readonly seam?: Seam;
}

/** Options of {@linkcode removeSnapshot}. */
export type RemoveSnapshotOptions = Pick<SnapshotOptions, "patienceMs" | "seam">;

/** A snapshot. */
export interface SnapshotInfo {
  /** The name. */
  readonly name: string;
  /** When it was made. */
  readonly created: Date;
  /** What was answered before this moment is in it. */
  readonly committed: Date;
  /** Of the disk, in bytes. */
  readonly size: number;
  /** One that is pending was taken on this machine, and is on its way to the store. */
  readonly state: "pending" | "completed";
}

/**
 * Makes a snapshot: the volume as it is at a moment between two writes, after everything that was
 * answered before the call. Whoever has it attached goes on.
 *
 * @throws {UblkError} `VOLUME_NOT_FOUND`; `VOLUME_EXISTS` if there is a snapshot of that name;
 *   `VOLUME_JOURNAL` or `VOLUME_BUSY` if the journal is elsewhere, or nobody serves the volume.
 */
export async function createSnapshot(
  store: StoreLike,
  name: string,
  snapshot: string,
  { journal, files = realFiles, wait = false, patienceMs = PATIENCE_MS, seam = MACHINE }:
    SnapshotOptions = {},
): Promise<void> {
  checkedSnapshotName(snapshot);
  await using stack = new AsyncDisposableStack();
  const opened = await storeOf(store, stack);
  const names = new ObjectNames(name);
  const id = seam.uuid();
  if (journal !== undefined) {
    const place = { store: opened, name, folder: `${journal}/${name}`, files };
    const mark = { id, name: snapshot };
    if (await takeMark(place, mark, seam, () => snapshotExists(name, snapshot))) {
      if (wait) await waitForEntry(place, mark);
      return;
    }
    await waitForStore(opened, name, { journal, files });
  }
  await retried(() =>
    keep(opened, names, seam, (catalog, manifest) => {
      const there = snapshotIn(catalog, snapshot);
      if (there?.id === id) return undefined;
      if (there !== undefined) throw snapshotExists(name, snapshot);
      return { name: snapshot, kind: "snapshot", id, size: manifest.size };
    }), { withinMs: patienceMs });
}

/** A snapshot's entry; undefined if there is none of that name. */
export function snapshotIn({ entries }: Catalog, name: string): CatalogEntry | undefined {
  return entries.find((one) => one.kind === "snapshot" && one.name === name);
}

/** The parts of an entry that do not follow from its manifest. */
type NewEntry = Pick<CatalogEntry, "name" | "kind" | "id" | "size">;

/**
 * Makes an entry for the manifest that counts.
 *
 * @param entryFor Undefined if there is nothing to do.
 * @returns The manifest.
 */
export async function keep(
  store: Store,
  names: ObjectNames,
  seam: Seam,
  entryFor: (catalog: Catalog, manifest: Manifest) => NewEntry | undefined,
): Promise<{ head: Head; manifest: Manifest }> {
  for (;;) {
    const { head, manifest } = await stateOf(store, names);
    let isTooOld = false;
    await changeCatalog({ store, names, volume: head.volume, seam }, (catalog) => {
      checkNotRemoved(catalog, store, names.volume);
      // Somebody has committed and collected garbage since.
      isTooOld = head.manifest < catalog.floor;
      const entry = isTooOld ? undefined : entryFor(catalog, manifest);
      if (entry === undefined) return undefined;
      const { manifest: number, manifestSum } = head;
      const whole = { ...entry, manifest: number, manifestSum, time: seam.now() };
      return { ...catalog, entries: [...catalog.entries, whole] };
    });
    if (!isTooOld) return { head, manifest };
  }
}

/** The error of a snapshot that is there already. */
export function snapshotExists(name: string, snapshot: string): UblkError {
  return new UblkError("VOLUME_EXISTS", {
    operation: `snapshot ${name}@${snapshot}`,
    reason: "there is a snapshot of that name",
    hint: "choose another name, or remove that one first",
  });
}

/**
 * The snapshots of a volume, the oldest first.
 *
 * @param options `journal` is the folder of journals: with it, those that were taken on this machine and
 *   that the store does not have yet are there too.
 * @throws {UblkError} `VOLUME_NOT_FOUND`
 */
export async function listSnapshots(
  store: StoreLike,
  name: string,
  { journal, files = realFiles }: Pick<SnapshotOptions, "journal" | "files"> = {},
): Promise<SnapshotInfo[]> {
  await using stack = new AsyncDisposableStack();
  const opened = await storeOf(store, stack);
  const names = new ObjectNames(name);
  const found = await readHead(opened, names);
  if (found === undefined) throw notFound(opened, name);
  const { volume } = found.head;
  // In this order: a mark goes once its entry is there.
  const marks = journal === undefined
    ? []
    : marksOf({ files, folder: `${journal}/${name}` }, found.head);
  const { entries } = await catalogOf(opened, names, volume);
  const snapshots = entries.filter(({ kind }) => kind === "snapshot");
  const infos: SnapshotInfo[] = await Promise.all(snapshots.map(async (entry) => ({
    name: entry.name,
    created: new Date(entry.time),
    committed: new Date((await readManifest(opened, names, { volume, ...entry })).time),
    size: entry.size,
    state: "completed" as const,
  })));
  const pending = marks.filter(({ id }) => entries.every((entry) => entry.id !== id));
  if (pending.length > 0) {
    const { size } = (await stateOf(opened, names)).manifest;
    for (const { name, time } of pending) {
      const created = new Date(time);
      infos.push({ name, created, committed: created, size, state: "pending" });
    }
  }
  return infos.sort((left, right) => left.created.getTime() - right.created.getTime());
}

/**
 * Removes a snapshot. Its space comes back with the next collection of garbage.
 *
 * @throws {UblkError} `VOLUME_NOT_FOUND`
 */
export async function removeSnapshot(
  store: StoreLike,
  name: string,
  snapshot: string,
  { patienceMs = PATIENCE_MS, seam = MACHINE }: RemoveSnapshotOptions = {},
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const opened = await storeOf(store, stack);
  const names = new ObjectNames(name);
  const found = await readHead(opened, names);
  if (found === undefined) throw notFound(opened, name);
  const place = { store: opened, names, volume: found.head.volume, seam };
  let id: string | undefined = undefined;
  const remove = (catalog: Catalog) => {
    const there = snapshotIn(catalog, snapshot);
    // An answer was lost, or another one has been made meanwhile.
    if (id !== undefined && there?.id !== id) return undefined;
    if (there === undefined) throw noSnapshot(opened, name, snapshot);
    id = there.id;
    return { ...catalog, entries: catalog.entries.filter((one) => one !== there) };
  };
  await retried(() => changeCatalog(place, remove), { withinMs: patienceMs });
}

/** The error of a snapshot that is not there. */
export function noSnapshot(store: Store, name: string, snapshot: string): UblkError {
  return new UblkError("VOLUME_NOT_FOUND", {
    operation: `snapshot ${name}@${snapshot}`,
    reason: `the volume in ${store.url} has no snapshot of that name`,
    hint: `\`ublk-volume snapshots ${name}\` lists them`,
  });
}

/**
 * The state of a volume or of a snapshot.
 *
 * @throws {UblkError} `VOLUME_NOT_FOUND`, `VOLUME_DAMAGED`
 */
export async function stateOfReference(
  store: Store,
  { volume: name, snapshot }: VolumeReference,
): Promise<{ head: Head; manifest: Manifest }> {
  const names = new ObjectNames(name);
  if (snapshot === undefined) return await stateOf(store, names);
  const found = await readHead(store, names);
  if (found === undefined) throw notFound(store, name);
  const { head } = found;
  for (let before: CatalogEntry | undefined = undefined;;) {
    const entry = snapshotIn(await catalogOf(store, names, head.volume), snapshot);
    if (entry === undefined) throw noSnapshot(store, name, snapshot);
    try {
      return {
        head,
        manifest: await readManifest(store, names, { volume: head.volume, ...entry }),
      };
    } catch (error) {
      if (!isUblkError(error) || error.code !== "VOLUME_DAMAGED") throw error;
      // Somebody may have removed it, and collected garbage.
      if (entry.id === before?.id) throw error;
      before = entry;
    }
  }
}

/** A state that stays as long as somebody reads it. */
export interface KeptState {
  /** The head. */
  readonly head: Head;
  /** The manifest. */
  readonly manifest: Manifest;
  /** The reason why it may not stay, if so: the store takes no entry. */
  readonly unkept: string | undefined;
  /** It is read no more. */
  release(): Promise<void>;
}

/**
 * The state of a volume or of a snapshot, which stays until it is released: its entry is renewed, unless the
 * thread blocks in the kernel for so long that it does not get to it. If nobody releases it, it stays for a
 * day. A store that may not be written to is read all the same.
 *
 * An entry was once never renewed, and a check or a copy that took more than a day lost what it read.
 *
 * @param reader Who reads it, in words.
 * @param timer Waits without keeping the process, for tests.
 * @throws {UblkError} `VOLUME_NOT_FOUND`, `VOLUME_DAMAGED`
 */
export async function keptState(
  store: Store,
  reference: VolumeReference,
  reader: string,
  seam: Seam = MACHINE,
  timer: typeof startIdleTimer = startIdleTimer,
): Promise<KeptState> {
  const names = new ObjectNames(reference.volume);
  const id = seam.uuid();
  try {
    const { head, manifest } = await retried(
      () => keepFor(store, reference, { name: reader.slice(0, 100), kind: "reader", id }, seam),
      { withinMs: PATIENCE_MS },
    );
    const place: CatalogPlace = { store, names, volume: head.volume, seam };
    const stop = renewed(place, id, timer);
    const release = async () => {
      await stop();
      await changeCatalog(place, (catalog) => ({
        ...catalog,
        entries: catalog.entries.filter((one) => one.id !== id),
      })).catch(() => {
        // It counts for a day at most.
      });
    };
    return { head, manifest, unkept: undefined, release };
  } catch (error) {
    if (!(error instanceof StoreError) || error.fault !== "refused" && error.fault !== "full") {
      throw error;
    }
    const state = await stateOfReference(store, reference);
    return { ...state, unkept: error.message, release: () => Promise.resolve() };
  }
}

/** Renews a reader's entry now and then. @returns Ends that. */
function renewed(
  place: CatalogPlace,
  id: string,
  timer: typeof startIdleTimer,
): () => Promise<void> {
  let isOver = false;
  let underWay: Promise<void> = Promise.resolve();
  const renew = async () => {
    await changeCatalog(place, ({ entries, ...catalog }) => {
      // One that has ended stays so: what it had kept may be gone. While a machine sleeps, so does this.
      const time = place.seam.now();
      const own = entries.find((one) => one.id === id);
      if (own === undefined || own.time + READER_MS <= time) return undefined;
      return { ...catalog, entries: entries.map((one) => one.id === id ? { ...one, time } : one) };
    }).catch(() => {
      // It counts for some hours yet, and is renewed the next time.
    });
    if (!isOver) cancel = timer(RENEW_MS, begin);
  };
  const begin = () => void (underWay = renew());
  let cancel = timer(RENEW_MS, begin);
  return async () => {
    isOver = true;
    cancel();
    await underWay;
  };
}

/** The warning that a state may not stay. */
export function unkeptWords(name: string, why: string): string {
  return `what is read of volume ${name} may be deleted while it is read, because the store cannot ` +
    `be told of it: ${why}`;
}

/**
 * Makes an entry for the manifest of a volume or of a snapshot, unless there is one of that id.
 *
 * @returns The head, and the manifest that the entry names.
 */
export async function keepFor(
  store: Store,
  { volume: name, snapshot }: VolumeReference,
  entry: Omit<NewEntry, "size">,
  seam: Seam,
): Promise<{ head: Head; manifest: Manifest }> {
  const names = new ObjectNames(name);
  const { id } = entry;
  if (snapshot === undefined) {
    let there: CatalogEntry | undefined = undefined;
    const { head, manifest } = await keep(store, names, seam, ({ entries }, { size }) => {
      there = entries.find((one) => one.id === id);
      return there === undefined ? { ...entry, size } : undefined;
    });
    if (there === undefined) return { head, manifest };
    // Made by an earlier call, whose answer was lost: what has counted since is not kept.
    const { volume } = head;
    return {
      head,
      manifest: await readManifest(store, names, { ...there as CatalogEntry, volume }),
    };
  }
  const found = await readHead(store, names);
  if (found === undefined) throw notFound(store, name);
  const { head } = found;
  let kept: CatalogEntry | undefined = undefined;
  await changeCatalog({ store, names, volume: head.volume, seam }, (catalog) => {
    const { entries } = catalog;
    kept = entries.find((one) => one.id === id);
    if (kept !== undefined) return undefined;
    const there = snapshotIn(catalog, snapshot);
    if (there === undefined) throw noSnapshot(store, name, snapshot);
    kept = { ...there, ...entry, time: seam.now() };
    return { ...catalog, entries: [...entries, kept] };
  });
  return { head, manifest: await readManifest(store, names, { ...kept!, volume: head.volume }) };
}
