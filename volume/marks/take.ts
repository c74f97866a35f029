/**
 * Takes a snapshot of a volume that is attached on this machine, from any process: asks its server for a
 * mark (`marks.ts`), and waits until that is durable.
 *
 * @module
 */

import type { Files } from "../../files/port.ts";
import { retried, wait } from "../../store/retry.ts";
import type { Store } from "../../store/store.ts";
import { UblkError } from "../../uapi/error.ts";
import { catalogOf } from "../catalog.ts";
import { notFound, readHead } from "../state.ts";
import type { Catalog } from "../format/catalog.ts";
import type { Head } from "../format/head.ts";
import type { Mark } from "../format/mark.ts";
import { NO_UUID } from "../format/record.ts";
import { readIdentity } from "../journal/identity.ts";
import { ObjectNames } from "../names.ts";
import type { Seam } from "../seam.ts";
import { missingJournal } from "../take.ts";
import { askServer } from "./door.ts";
import { readMarks } from "./file.ts";
import { isServed } from "./served.ts";

/** How long a server may take, and the time until one is asked again that had ended, in milliseconds. */
const ANSWER_MS = 10_000;
const AGAIN_MS = 50;
/** Time between the first two looks at the store, and the longest, in milliseconds. */
const FIRST_STORE_MS = 5;
const STORE_MS = 100;
/** How long a store that fails is asked again, in milliseconds. */
const PATIENCE_MS = 30_000;

/** A volume whose journal may be on this machine. */
export interface MarkedPlace {
  /** The store. */
  readonly store: Store;
  /** The volume's name. */
  readonly name: string;
  /** The folder of its journal. */
  readonly folder: string;
  /** The files of this machine. */
  readonly files: Files;
}

/**
 * The marks of a volume whose journal is here: snapshots that were taken, and that the store may not
 * have yet.
 */
export function marksOf(
  { files, folder }: Pick<MarkedPlace, "files" | "folder">,
  head: Head,
): Mark[] {
  if (head.journal === NO_UUID || files.status(folder) === undefined) return [];
  const identity = readIdentity(files, folder);
  return identity?.journal === head.journal ? readMarks(files, folder, identity) : [];
}

/** The volume's head and catalog. @throws {UblkError} `VOLUME_NOT_FOUND` */
export async function headAndCatalog(
  { store, name }: Pick<MarkedPlace, "store" | "name">,
): Promise<{ readonly head: Head; readonly catalog: Catalog }> {
  const names = new ObjectNames(name);
  return await retried(async () => {
    const found = await readHead(store, names);
    if (found === undefined) throw notFound(store, name);
    return { head: found.head, catalog: await catalogOf(store, names, found.head.volume) };
  }, { withinMs: PATIENCE_MS });
}

/**
 * Has the server of a volume take a snapshot.
 *
 * @returns Whether it is taken; false if there is no server here that could: then what the store has is
 *   all, or nobody brings it there.
 * @throws {UblkError} `VOLUME_JOURNAL` if the volume is attached elsewhere; `VOLUME_EXISTS` if there is
 *   a snapshot of that name; `VOLUME_BUSY` if the server does not answer.
 */
export async function takeMark(
  place: MarkedPlace,
  { id, name: snapshot }: Pick<Mark, "id" | "name">,
  seam: Pick<Seam, "clock">,
  exists: () => UblkError,
): Promise<boolean> {
  const { files, folder, name } = place;
  const { head, catalog } = await headAndCatalog(place);
  if (catalog.entries.some((one) => one.kind === "snapshot" && one.name === snapshot)) {
    throw exists();
  }
  if (head.journal === NO_UUID) return false;
  if (files.status(folder) === undefined) throw missingJournal({ folder, name }, head);
  if (readIdentity(files, folder)?.journal !== head.journal) {
    throw missingJournal({ folder, name }, head);
  }
  const begin = seam.clock();
  for (;;) {
    const leftMs = ANSWER_MS - (seam.clock() - begin);
    const answer = await askServer(folder, { snapshot, id }, Math.max(leftMs, 0));
    if (answer === "taken") return true;
    if (answer === "exists") throw exists();
    if (answer === "full" || answer === "failed") throw refused(place, snapshot, answer);
    // Perhaps it is taken, and only the answer is lost.
    if (await isTaken(place, id)) return true;
    if (answer === "nobody") return false;
    if (leftMs <= AGAIN_MS) throw silent(name, snapshot);
    await wait(AGAIN_MS);
  }
}

/** Whether a snapshot of an id was taken. */
async function isTaken(place: MarkedPlace, id: string): Promise<boolean> {
  const { head } = await headAndCatalog(place);
  if (marksOf(place, head).some((mark) => mark.id === id)) return true;
  const { catalog } = await headAndCatalog(place);
  return catalog.entries.some((entry) => entry.id === id);
}

/**
 * Waits until the store has a snapshot that was taken.
 *
 * @throws {UblkError} `VOLUME_BUSY` if nobody brings it there; `VOLUME_NOT_FOUND` if somebody has removed
 *   it since.
 */
export async function waitForEntry(
  place: MarkedPlace,
  { id, name: snapshot }: Pick<Mark, "id" | "name">,
): Promise<void> {
  const { files, folder, name } = place;
  for (let ms = FIRST_STORE_MS;; ms = Math.min(2 * ms, STORE_MS)) {
    const { head } = await headAndCatalog(place);
    const isPending = marksOf(place, head).some((mark) => mark.id === id);
    // In this order: a mark goes once its entry is there.
    const { catalog } = await headAndCatalog(place);
    if (catalog.entries.some((entry) => entry.id === id)) return;
    if (!isPending) throw gone(place.store, name, snapshot);
    if (!isServed(files, folder)) throw unserved(name, snapshot);
    await wait(ms);
  }
}

function refused(
  { name, folder }: MarkedPlace,
  snapshot: string,
  answer: "full" | "failed",
): UblkError {
  return answer === "full"
    ? new UblkError("VOLUME_BUSY", {
      operation: `snapshot ${name}@${snapshot}`,
      reason: "too many snapshots wait for the store",
      hint: "wait until it has some of them: `ublk-volume sync` does",
    })
    : new UblkError("VOLUME_JOURNAL", {
      operation: `snapshot ${name}@${snapshot}`,
      reason: `${folder}/marks cannot be written to`,
      hint:
        "look at the disk of the journal; the snapshot may be there once the volume is attached anew",
    });
}

function silent(name: string, snapshot: string): UblkError {
  return new UblkError("VOLUME_BUSY", {
    operation: `snapshot ${name}@${snapshot}`,
    reason: "the volume's server does not answer",
    hint: `\`ublk-volume snapshots ${name}\` tells whether it was taken; look after the server`,
  });
}

function unserved(name: string, snapshot: string): UblkError {
  return new UblkError("VOLUME_BUSY", {
    operation: `snapshot ${name}@${snapshot}`,
    reason: "it is taken, and no server brings it to the store",
    hint: `attach the volume: ublk-volume attach ${name}`,
  });
}

function gone(store: Store, name: string, snapshot: string): UblkError {
  return new UblkError("VOLUME_NOT_FOUND", {
    operation: `snapshot ${name}@${snapshot}`,
    reason: `${store.url} has no snapshot of that name any more`,
    hint: `\`ublk-volume snapshots ${name}\` lists them`,
  });
}
