/**
 * Takes hold of a volume in its store, for writing: finds or makes its journal, and raises the epoch.
 *
 * **Which journal continues the volume** is in the head. A volume that was detached in order has
 * none, and may be attached with any. Otherwise what was acknowledged last is in that journal alone,
 * so only it will do, unless somebody says by name that he goes on without. That gives nothing up
 * which is there and can be read: who says so has lost a journal, and may say it once too often.
 *
 * @module
 */

import type { File, Files } from "../files/port.ts";
import { wait } from "../store/retry.ts";
import type { Store } from "../store/store.ts";
import { isUblkError, UblkError } from "../uapi/error.ts";
import { catalogOf } from "./catalog.ts";
import { Committed } from "./committed.ts";
import { readHead } from "./state.ts";
import type { Head } from "./format/head.ts";
import type { Manifest } from "./format/manifest.ts";
import { NO_UUID } from "./format/record.ts";
import { remainsOf } from "./journal/remains.ts";
import type { Lease } from "./lease.ts";
import { stillHeld, waitOutLease } from "./lease_wait.ts";
import { type LostJournal, removedWords } from "./lost.ts";
import { ObjectNames } from "./names.ts";
import { keyOf } from "./opened_store.ts";
import {
  areBlank,
  makeSegments,
  removeSegments,
  segmentPaths,
  syncSegments,
} from "./journal/files.ts";
import { type JournalIdentity, mayBeOf, readIdentity, writeIdentity } from "./journal/identity.ts";
import type { JournalEnd } from "./journal/end.ts";
import type { Seam } from "./seam.ts";

/** The volume to take, and how. */
export interface TakeOptions {
  /** The store. */
  readonly store: Store;
  /** The volume's name. */
  readonly name: string;
  /** The files of this machine. */
  readonly files: Files;
  /** The folder of the journal, which exists. */
  readonly folder: string;
  /** Bytes of a segment of a journal that is made. */
  readonly segmentSize: number;
  /** Number of segments of a journal that is made. */
  readonly segments: number;
  /**
   * Go on without the journal, with what the store has. A journal in the folder is given up, unless
   * it is the one that continues the volume, and can be read: then it does.
   */
  readonly withoutJournal: boolean;
  /**
   * Without the journal: do not wait until the lease of whoever has the volume has run out. What that
   * server acknowledges until it finds out is lost too.
   */
  readonly force: boolean;
  /** The lease to hold it by. */
  readonly lease: Lease;
  /** Who takes it, in words. */
  readonly host: string;
  /** Time and randomness. */
  readonly seam: Seam;
  /** Waits for some milliseconds, for tests. @default A timer */
  readonly pause?: (ms: number) => Promise<void>;
}

/** A volume that has been taken. */
export interface Taken extends Disposable {
  /** The hold on it. */
  readonly committed: Committed;
  /** Its journal. */
  readonly identity: JournalIdentity;
  /** The paths of the journal's files. */
  readonly paths: readonly string[];
  /** Where the store ends and the journal continues. */
  readonly from: JournalEnd;
  /** The loss, if it was taken without its journal. */
  readonly lost?: LostJournal;
  /** A line about a journal that was kept in the folder until now, if it may have had data. */
  readonly removed?: string;
}

/**
 * Takes a volume.
 *
 * @throws {UblkError} `VOLUME_NOT_FOUND`, `VOLUME_JOURNAL`, `VOLUME_BUSY`, `VOLUME_DAMAGED`.
 */
export async function takeVolume(options: TakeOptions): Promise<Taken> {
  const { store, name, files, folder, withoutJournal } = options;
  using stack = new DisposableStack();
  stack.use(lockFolder(files, folder));
  await store.verify?.();
  const waitedFor = await waitForWriter(options);
  let identity: JournalIdentity | undefined = undefined;
  let lost: LostJournal | undefined = undefined;
  let removed: string | undefined = undefined;
  const names = new ObjectNames(name);
  const committed = await Committed.claim(store, name, options, async (head, manifest) => {
    // Somebody may have attached it since it was looked at.
    if (mustWait(options, head) && head.nonce !== waitedFor) throw stillHeld(name, head);
    const found = identityIn(options);
    const own = head.journal !== NO_UUID && found?.journal === head.journal ? found : undefined;
    const remains = own && withoutJournal
      ? remainsOf(files, folder, own, endOf(manifest), keyOf(store))
      : undefined;
    if (own !== undefined && (!withoutJournal || remains!.isWhole)) {
      identity = goOnWith(options, own);
    } else if (head.journal === NO_UUID || withoutJournal) {
      if (head.journal !== NO_UUID) lost = lostWith(head, manifest, remains);
      if (own === undefined && wasKept(options, found)) removed = removedWords(name, folder);
      const { copy } = await catalogOf(store, names, head.volume);
      identity = makeJournal(options, head, manifest, copy, found);
    } else throw missingJournal(options, head);
    return identity.journal;
  });
  const journal = identity! as JournalIdentity;
  const paths = segmentPaths(files, folder);
  if (paths.length !== journal.files) {
    throw new UblkError("VOLUME_DAMAGED", {
      operation: `journal ${folder}`,
      reason: `it has ${paths.length} files, and had ${journal.files}`,
      hint: "bring them back, or attach without the journal",
    });
  }
  const owned = stack.move();
  return {
    ...{ committed, identity: journal, paths, lost, removed },
    from: endOf(committed.manifest),
    [Symbol.dispose]: () => owned.dispose(),
  };
}

/**
 * Waits until whoever has the volume answers no FLUSH any more.
 *
 * @returns The nonce of the head that has not changed meanwhile; undefined if there was nobody to wait
 *   for. Whoever has the volume's journal need not wait: he has its lock, so its writer is dead.
 */
async function waitForWriter(options: TakeOptions): Promise<string | undefined> {
  const { store, name, seam, withoutJournal, force, pause = wait } = options;
  if (!withoutJournal || force) return undefined;
  const names = new ObjectNames(name);
  const found = await readHead(store, names);
  if (found === undefined || !mustWait(options, found.head)) return undefined;
  return await waitOutLease({ store, names, seam, pause }, found.head);
}

/** Whether somebody may still answer FLUSHes that would be lost. */
function mustWait({ withoutJournal, force }: TakeOptions, head: Head): boolean {
  return withoutJournal && !force && head.attached && head.leaseMs > 0;
}

/** What is lost with a journal that is given up. */
function lostWith(
  head: Head,
  manifest: Manifest,
  { written } = { written: 0 },
): LostJournal {
  const bytes = Math.max(head.written, written, manifest.written) - manifest.written;
  return { host: head.host, time: manifest.time, bytes };
}

/** Where the store ends. */
export function endOf({ position, sequence, chain, written }: Manifest): JournalEnd {
  return { position, sequence, chain, written };
}

/** Locks a journal's folder, as long as the file is open. @throws {UblkError} `VOLUME_BUSY` */
export function lockFolder(files: Files, folder: string): File {
  const file = files.open(`${folder}/lock`, { write: true, create: "if-missing" });
  if (file.lock("exclusive")) return file;
  file.close();
  throw new UblkError("VOLUME_BUSY", {
    operation: `journal ${folder}`,
    reason: "another process uses it",
    hint: "detach the volume there first",
  });
}

/** The error of a volume whose journal is not where it was looked for. */
export function missingJournal(
  { folder, name }: Pick<TakeOptions, "folder" | "name">,
  head: Head,
): UblkError {
  return new UblkError("VOLUME_JOURNAL", {
    operation: `attach ${name}`,
    reason:
      `its journal is not in ${folder}; it was attached by ${head.host || "somebody"} last, ` +
      "and not detached",
    hint: "give the folder with its journal, or attach without the journal, which loses what was " +
      "written last",
  });
}

/**
 * The identity of the journal in the folder. Whoever goes on without it must not be stopped by a
 * damaged one: errors about it say to do so.
 */
function identityIn({ files, folder, withoutJournal }: TakeOptions): JournalIdentity | undefined {
  try {
    return readIdentity(files, folder);
  } catch (error) {
    if (withoutJournal && isUblkError(error) && error.code === "VOLUME_DAMAGED") return undefined;
    throw error;
  }
}

/** Goes on with a journal. It was left if an older copy of the store was brought back since. */
function goOnWith({ files, folder }: TakeOptions, found: JournalIdentity): JournalIdentity {
  if (found.isLeft !== true) return found;
  const { isLeft: _, ...identity } = found;
  writeIdentity(files, folder, identity);
  return identity;
}

/**
 * Makes a folder hold a new journal for a volume.
 *
 * Its files are new ones. In those of an earlier journal of this volume, old batches could continue
 * the same chain: after an attachment without the journal, another one branches off from the same
 * batch.
 */
function makeJournal(
  { files, folder, seam, segmentSize, segments }: TakeOptions,
  head: Head,
  { volume, blockSize }: Manifest,
  copy: string | undefined,
  found: JournalIdentity | undefined,
): JournalIdentity {
  if (found !== undefined && !mayBeOf(found, { volume, copy })) {
    throw new UblkError("VOLUME_JOURNAL", {
      operation: `journal ${folder}`,
      reason: found.volume === volume
        ? "it is the journal of another copy of the volume"
        : "it is the journal of another volume",
      hint: "give each volume a folder of its own",
    });
  }
  const identity: JournalIdentity = {
    ...{ volume, journal: seam.uuid(), size: segmentSize, files: segments, blockSize },
    ...copy === undefined ? {} : { copy },
  };
  // An attempt before may have failed, and its head arrive late: then this is the journal in it.
  if (found !== undefined && head.journal === NO_UUID && isBlank(files, folder, found, identity)) {
    syncSegments(files, folder);
    return found;
  }
  // The old one is of no use any more: the head names none, or the caller has given it up. It loses
  // its identity first: without some of its files it would pass for a journal that is empty.
  writeIdentity(files, folder, identity);
  removeSegments(files, folder);
  makeSegments(files, folder, segments, segmentSize);
  return identity;
}

/** Whether a journal may have data that no store has: a server was cut off, or it was given up. */
function wasKept({ files, folder }: TakeOptions, found: JournalIdentity | undefined): boolean {
  return found !== undefined && found.isLeft !== true &&
    !areBlank(files, folder, found.files, found.size);
}

/** Whether a journal is just as a new one would be, and was never written to. */
function isBlank(
  files: Files,
  folder: string,
  found: JournalIdentity,
  wanted: JournalIdentity,
): boolean {
  const { volume, copy, blockSize, size, files: count, isLeft = false } = found;
  return !isLeft && volume === wanted.volume && copy === wanted.copy &&
    blockSize === wanted.blockSize && size === wanted.size && count === wanted.files &&
    areBlank(files, folder, count, size);
}
