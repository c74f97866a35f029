/**
 * Makes a volume in a store.
 *
 * @module
 */

import type { Store, Version } from "../store/store.ts";
import { UblkError } from "../uapi/error.ts";
import { readCatalog } from "./catalog.ts";
import { putManifest } from "./committed.ts";
import { type ManifestName, readAnyHead } from "./state.ts";
import type { FirstNumbers } from "./format/catalog.ts";
import { encodeHead, type Head } from "./format/head.ts";
import { NO_UUID } from "./format/record.ts";
import { ObjectNames } from "./names.ts";
import { keyOf } from "./opened_store.ts";
import { readKey, type VolumeKeySource } from "./seal/key_source.ts";
import { createKey } from "./seal/unlock.ts";
import type { Seam } from "./seam.ts";
import { collectRemoved, unlessLocked } from "./space/removed.ts";

/** The properties that are decided when a volume is created. */
export interface VolumeShape {
  /** Of the disk in bytes: a multiple of the block size. */
  readonly size: number;
  /** Bytes of a block: 512, 1024, 2048 or 4096. */
  readonly blockSize: number;
  /** Most bytes of a chunk object. */
  readonly chunkSize: number;
  /** How data is compressed. @default Not at all */
  readonly compression?: "zstd";
}

/**
 * Creates a volume. A head that only holds the name comes first: whoever removes what an interrupted
 * removal has left would take a manifest without any head for a part of that, and the volume would
 * have lost it.
 *
 * @param key The key to encrypt it with; undefined for none.
 * @throws {UblkError} `VOLUME_EXISTS`; `VOLUME_FENCED` if somebody has removed or taken the name
 *   meanwhile; `INVALID_ARGUMENT` if the key cannot be read.
 */
export async function createVolume(
  plain: Store,
  name: string,
  shape: VolumeShape,
  seam: Seam,
  key?: VolumeKeySource,
): Promise<Head> {
  const names = new ObjectNames(name);
  // Before anything is there.
  if (key !== undefined) readKey(key).bytes.fill(0);
  await plain.verify?.();
  const volume = seam.uuid();
  const time = seam.now();
  const version = await freeName(plain, names, "create", seam);
  const place = await putFirstHead(plain, names, placeholder(volume, seam, time), version);
  if (place === undefined) throw exists(plain, name, "create");
  const first = await firstNumbers(plain, names);
  const store = key === undefined ? plain : await createKey(plain, names, volume, key);
  using _key = keyOf(store);
  const { manifest, encoded } = await putManifest(store, names, first.manifest, (number) => ({
    ...shape,
    ...{ volume, number, epoch: 0, sequence: 0, position: 0, chain: 0, written: 0 },
    ...{ nextChunk: first.chunk, nextRun: first.run, time, created: time, runs: [] },
    ...{ ancestors: [], since: 0 },
  }));
  const state = { volume, manifest: manifest.number, manifestSum: encoded.sum };
  const head = newHead({ ...state, encrypted: key !== undefined }, seam, time);
  if (await putFirstHead(store, names, head, place) === undefined) {
    if (key !== undefined) await plain.delete(names.key(volume), { neverReused: true });
    throw lostName(store, name, "create");
  }
  return head;
}

/** A head that only holds the name of a volume that is being made. */
export function placeholder(volume: string, seam: Seam, time: number): Head {
  return { ...newHead({ volume, manifest: 0, manifestSum: 0 }, seam, time), beingMade: true };
}

/** The error of a name that was lost while a volume was being made. */
export function lostName({ url }: Store, name: string, what: string): UblkError {
  return new UblkError("VOLUME_FENCED", {
    operation: `${what} ${name} in ${url}`,
    reason: "somebody else has removed or taken that name meanwhile, or it took more than an hour",
    hint: "try again",
  });
}

/**
 * Looks whether a volume may be made under a name.
 *
 * @param what What is done, in a word.
 * @returns The version of the head of a volume that never came to be, which has the name; undefined for
 *   none.
 * @throws {UblkError} `VOLUME_EXISTS`
 */
export async function freeName(
  store: Store,
  names: ObjectNames,
  what: string,
  seam: Seam,
): Promise<Version | undefined> {
  const { volume: name } = names;
  const found = await readAnyHead(store, names);
  if (found?.head.beingRemoved) throw beingRemoved(store, name, what);
  if (found !== undefined && !isFree(found.head)) throw exists(store, name, what);
  // The last of its clones may have been removed by somebody who was interrupted.
  await unlessLocked(() => collectRemoved(store, names, seam));
  const catalog = (await readCatalog(store, names))?.catalog;
  const { removed, entries = [] } = catalog ?? {};
  const clones = entries.filter(({ kind }) => kind === "clone");
  if (clones.length > 0) {
    const how = removed === undefined ? "has lost its head" : "was removed";
    throw new UblkError("VOLUME_EXISTS", {
      operation: `${what} ${name}`,
      reason: `the volume of that name ${how}, and clones still need its data: ` +
        clones.map((clone) => clone.name).join(", "),
      hint: "choose another name, or flatten or remove those first",
    });
  }
  return found?.version;
}

/**
 * The numbers with which the objects of a new volume begin. Whoever still deletes objects of a removed
 * one deletes none of the new one's. To be read once a head holds the name: he marks his numbers first,
 * and then looks whether there is a head.
 */
export async function firstNumbers(store: Store, names: ObjectNames): Promise<FirstNumbers> {
  const catalog = (await readCatalog(store, names))?.catalog;
  return catalog?.removed ?? { chunk: 1, run: 1, manifest: 1 };
}

/** Whether a head only holds the name for a volume that never came to be. */
export function isFree({ beingMade = false, beingRemoved = false }: Head): boolean {
  return beingMade && !beingRemoved;
}

/** The first head of a volume, encrypted or not. */
export function newHead(
  state: ManifestName & Pick<Head, "encrypted">,
  seam: Seam,
  time: number,
): Head {
  return {
    ...{ ...state, nonce: seam.uuid(), epoch: 0, time, written: 0 },
    ...{ attached: false, journal: NO_UUID, owner: NO_UUID, leaseMs: 0, host: "" },
  };
}

/** Puts a head where none is, or one of a volume that never came to be. @returns Undefined if it lost. */
export async function putFirstHead(
  store: Store,
  names: ObjectNames,
  head: Head,
  version: Version | undefined,
): Promise<Version | undefined> {
  const bytes = encodeHead(head);
  const put = version === undefined
    ? await store.putIfAbsent(names.head, bytes)
    : await store.replace(names.head, bytes, version);
  if (put !== undefined) return put;
  // A lost answer looks like a lost race.
  const found = await readAnyHead(store, names);
  return found?.head.nonce === head.nonce ? found.version : undefined;
}

function beingRemoved({ url }: Store, name: string, what: string): UblkError {
  return new UblkError("VOLUME_EXISTS", {
    operation: `${what} ${name}`,
    reason: `the volume of that name is being removed from ${url}`,
    hint: `ublk-volume rm ${name} brings that to an end`,
  });
}

/** The error of a name that is taken. */
export function exists(store: Store, name: string, what: string): UblkError {
  return new UblkError("VOLUME_EXISTS", {
    operation: `${what} ${name}`,
    reason: `${store.url} has a volume of that name`,
    hint: "choose another name, or remove that one first",
  });
}
