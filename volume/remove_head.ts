/**
 * The head of a volume that is removed: it says so before anything else changes, and goes once it is
 * known what clones need.
 *
 * ```
 *   head: being removed ──▶ catalog: marked ──▶ no head ──▶ objects are deleted
 * ```
 *
 * Each step asks for the version that the one before has found or made. Otherwise a volume that somebody
 * had attached meanwhile lost its snapshots and its collections, and so did one that was made under the
 * name while a removal was slow.
 *
 * @module
 */

import type { Store, Version } from "../store/store.ts";
import { UblkError } from "../uapi/error.ts";
import { decodeHead, encodeHead, type Head } from "./format/head.ts";
import { NO_UUID } from "./format/record.ts";
import type { ObjectNames } from "./names.ts";
import type { Seam } from "./seam.ts";
import { decoded } from "./state.ts";

/** A head that may be removed. */
export interface RemovableHead {
  /** Its contents; undefined if it is damaged. */
  readonly head: Head | undefined;
  /** Of the object. */
  readonly version: Version;
}

/**
 * The volume's head, if there is one that may be removed.
 *
 * @param force Also if somebody has the volume attached, or nobody can read the head.
 * @throws {UblkError} `VOLUME_BUSY`, `VOLUME_DAMAGED`
 */
export async function removableHead(
  store: Store,
  names: ObjectNames,
  force: boolean,
): Promise<RemovableHead | undefined> {
  const object = await store.get(names.head, { settled: true });
  if (object === undefined) return undefined;
  const { bytes, version } = object;
  try {
    const head = decoded(store, names.head, () => decodeHead(bytes));
    // Who has no journal changes a volume for a moment: a collection, a flattening, a rollback or a resize,
    // or one that was killed. It answers no writes that could be lost, and ends once the head is gone.
    const { attached, journal, host, beingRemoved } = head;
    if (attached && journal !== NO_UUID && !beingRemoved && !force) {
      throw isAttached(names.volume, host);
    }
    return { head, version };
  } catch (error) {
    // One that nobody can read is there all the same.
    const isDamaged = error instanceof UblkError && error.code === "VOLUME_DAMAGED";
    if (!isDamaged || !force) throw error;
    return { head: undefined, version };
  }
}

/** How a volume is removed. */
export interface RemovalTerms {
  /** Also if somebody has it attached. */
  readonly force: boolean;
  /** Refuse it if there are snapshots. */
  readonly spareSnapshots: boolean;
  /** Time and randomness. */
  readonly seam: Seam;
}

/** Another call may change the head as often before this one gives up. */
const ATTEMPTS = 10;

/**
 * Has the head say that the volume is being removed. From then on there is no such volume: nobody can
 * attach it, whoever had it attached is fenced, and the name is not free yet. One that says so already
 * is replaced as well unless snapshots are to be spared, so that who has begun before, and finds some,
 * cannot take it back any more.
 *
 * @param found As it was found. One that is damaged stays as it is: nobody can attach it.
 * @returns Undefined if another call has removed the volume meanwhile.
 * @throws {UblkError} `VOLUME_BUSY` if somebody has attached it meanwhile, or changes it all the time.
 */
export async function beginRemoval(
  store: Store,
  names: ObjectNames,
  found: RemovableHead,
  { force, spareSnapshots, seam }: RemovalTerms,
): Promise<RemovableHead | undefined> {
  const tried = new Set<string>();
  let now = found;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (now.head === undefined || tried.has(now.head.nonce)) return now;
    if (now.head.beingRemoved && spareSnapshots) return now;
    const head = { ...now.head, beingRemoved: true, nonce: seam.uuid(), time: seam.now() };
    tried.add(head.nonce);
    const version = await store.replace(names.head, encodeHead(head), now.version);
    if (version !== undefined) return { head, version };
    // Somebody has committed, or the answer was lost.
    const next = await removableHead(store, names, force);
    if (next === undefined || next.head?.volume !== found.head?.volume) return undefined;
    now = next;
  }
  throw isChanging(names.volume);
}

/** Has a head that says that the volume is being removed say that it stays. */
export async function endRemoval(
  store: Store,
  names: ObjectNames,
  { head, version }: RemovableHead,
  seam: Seam,
): Promise<void> {
  if (!head?.beingRemoved) return;
  const { beingRemoved: _, ...before } = head;
  await store.replace(names.head, encodeHead({ ...before, nonce: seam.uuid() }), version);
}

/**
 * What has become of a head.
 *
 * - `"same"`: it is there.
 * - `"gone"`: another call has removed the volume, and may have been interrupted.
 * - `"another"`: somebody has made the next volume of the name.
 */
export type HeadNow = "same" | "gone" | "another";

/**
 * Looks what has become of the head that was found.
 *
 * @param begun Undefined for what is left of a volume without a head.
 * @throws {UblkError} `VOLUME_BUSY` if it is another head of the same volume.
 */
export async function headNow(
  store: Store,
  names: ObjectNames,
  begun: RemovableHead | undefined,
): Promise<HeadNow> {
  const now = await store.get(names.head, { settled: true });
  if (now?.version === begun?.version) return "same";
  if (now === undefined) return "gone";
  if (begun === undefined) return "another";
  const { volume } = decoded(store, names.head, () => decodeHead(now.bytes));
  if (begun.head !== undefined && begun.head.volume !== volume) return "another";
  throw isChanging(names.volume);
}

function isChanging(name: string): UblkError {
  return new UblkError("VOLUME_BUSY", {
    operation: `remove ${name}`,
    reason: "somebody else removes, changes or repairs it",
    hint: "look what is there, and run this again if that is to be removed",
  });
}

/**
 * Deletes a head that was found. Another call may have been faster.
 *
 * @throws {UblkError} `VOLUME_BUSY` if there is another head of the same volume.
 */
export async function deleteHead(
  store: Store,
  names: ObjectNames,
  begun: RemovableHead,
): Promise<void> {
  if (!await store.delete(names.head, { version: begun.version })) {
    await headNow(store, names, begun);
  }
}

function isAttached(name: string, host: string): UblkError {
  return new UblkError("VOLUME_BUSY", {
    operation: `remove ${name}`,
    reason: `${host || "somebody"} has it open, or has died with it open`,
    hint: "close it there first; with force it is removed all the same",
  });
}
