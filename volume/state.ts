/**
 * Reads what a store has of a volume: its head, the manifest that the head names, and their runs.
 * What is damaged, missing or encrypted is told by the object's name.
 *
 * @module
 */

import type { GetTerms, Store, Version } from "../store/store.ts";
import { UblkError } from "../uapi/error.ts";
import { decodeHead, type Head } from "./format/head.ts";
import { decodeManifest, type Manifest } from "./format/manifest.ts";
import { FormatError, SealedError, sumOfObject } from "./format/record.ts";
import { decodeRun, type Extents } from "./format/run.ts";
import type { ObjectNames } from "./names.ts";
import { ownerOfRun } from "./owners.ts";

/** A head and its version. */
export interface VersionedHead {
  /** The head. */
  readonly head: Head;
  /** Its version in the store. */
  readonly version: Version;
}

/** Reads a volume's head; undefined if there is no such volume, or it is being made or removed. */
export async function readHead(
  store: Store,
  names: ObjectNames,
  terms?: GetTerms,
): Promise<VersionedHead | undefined> {
  const found = await readMadeHead(store, names, terms);
  return found?.head.beingRemoved ? undefined : found;
}

/** Reads a volume's head, also of one that is being removed. Undefined if it is still being made. */
export async function readMadeHead(
  store: Store,
  names: ObjectNames,
  terms?: GetTerms,
): Promise<VersionedHead | undefined> {
  const found = await readAnyHead(store, names, terms);
  return found?.head.beingMade ? undefined : found;
}

/**
 * Reads the head of a name, also of a volume that is being made or removed, or never came to be.
 *
 * @param terms With `settled`, nothing brings back one that is not there.
 */
export async function readAnyHead(
  store: Store,
  names: ObjectNames,
  terms?: GetTerms,
): Promise<VersionedHead | undefined> {
  const found = await store.get(names.head, terms);
  if (found === undefined) return undefined;
  return {
    head: decoded(store, names.head, () => decodeHead(found.bytes)),
    version: found.version,
  };
}

/** The name of a manifest of a volume, as its head and its catalog have it. */
export type ManifestName = Pick<Head, "volume" | "manifest" | "manifestSum">;

/** Reads the manifest that a head or a catalog names. */
export async function readManifest(
  store: Store,
  names: ObjectNames,
  head: ManifestName,
): Promise<Manifest> {
  const name = names.manifest(head.manifest);
  const found = await store.get(name);
  if (found === undefined) throw damaged(store, name, "is missing, and is needed");
  const manifest = decoded(store, name, () => decodeManifest(found.bytes, head.volume));
  if (manifest.sum !== head.manifestSum || manifest.number !== head.manifest) {
    throw damaged(store, name, "is not the one that is needed");
  }
  return manifest;
}

/** The state of a volume that is there. @throws {UblkError} `VOLUME_NOT_FOUND`, `VOLUME_DAMAGED` */
export async function stateOf(
  store: Store,
  names: ObjectNames,
): Promise<VersionedHead & { readonly manifest: Manifest }> {
  for (;;) {
    const found = await readHead(store, names);
    if (found === undefined) throw notFound(store, names.volume);
    try {
      return { ...found, manifest: await readManifest(store, names, found.head) };
    } catch (error) {
      if (!(error instanceof UblkError) || error.code !== "VOLUME_DAMAGED") throw error;
      // Whoever has the volume attached may have committed, and deleted what is not needed any more.
      const now = await readHead(store, names);
      if (now?.head.manifest === found.head.manifest) throw error;
    }
  }
}

/** Reads a run that a manifest names. */
export async function readRun(
  store: Store,
  names: ObjectNames,
  manifest: Manifest,
  nth: number,
): Promise<Extents> {
  const { number, entries, sum } = manifest.runs[nth];
  const owner = ownerOfRun(names, manifest, number);
  const name = owner.names.run(number);
  const found = await store.get(name);
  if (found === undefined) throw damaged(store, name, "is missing, and the manifest names it");
  const extents = decoded(store, name, () => decodeRun(found.bytes, owner.volume, number));
  const isNamed = extents.length === entries && sumOfObject(found.bytes) === sum;
  if (!isNamed) throw damaged(store, name, "is not the one that the manifest names");
  return extents;
}

/** Reads an object, and says which one it was if it is not what it should be. */
export function decoded<T>(store: Store, name: string, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (error instanceof SealedError) throw locked(store, name, error);
    if (error instanceof FormatError) throw damaged(store, name, `: ${error.message}`, error);
    throw error;
  }
}

/** The error of an object that is encrypted, where there is no key. */
function locked(store: Store, name: string, cause: SealedError): UblkError {
  return new UblkError("VOLUME_KEY", {
    operation: `${store.url} ${name}`,
    reason: cause.message,
    hint: "give the volume's key: --key-file or --passphrase-file",
    cause,
  });
}

/** The error of an object that is not what it should be. */
export function damaged(store: Store, name: string, how: string, cause?: unknown): UblkError {
  return new UblkError("VOLUME_DAMAGED", {
    operation: `${store.url} ${name}`,
    reason: how.replace(/^: /, ""),
    hint: "bring the object back from a copy of the store",
    cause,
  });
}

/** Whether two objects are the same. */
export function areEqual(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, at) => byte === right[at]);
}

/** The error of a volume that is not there. */
export function notFound(store: Store, name: string): UblkError {
  return new UblkError("VOLUME_NOT_FOUND", {
    operation: `volume ${name}`,
    reason: `${store.url} has no volume of that name`,
    hint: "ublk-volume create makes one, and ublk-volume ls lists them",
  });
}
