/**
 * Opens an encrypted volume's store with its key, and gives a volume another key.
 *
 * The data key is in an object of its own, `NAME/keys/UUID`. `rekey` replaces that, by
 * compare-and-swap, and changes nothing else: it is done or it is not, and whoever has the volume
 * attached goes on with the data key that he has.
 *
 * @module
 */

import { retried } from "../../store/retry.ts";
import type { Store, Version } from "../../store/store.ts";
import { isUblkError, UblkError } from "../../uapi/error.ts";
import { readCatalog } from "../catalog.ts";
import { areEqual, damaged, decoded, notFound, readHead, readMadeHead } from "../state.ts";
import type { Catalog } from "../format/catalog.ts";
import type { Head } from "../format/head.ts";
import { decodeKey, encodeKey } from "../format/key.ts";
import { ObjectNames } from "../names.ts";
import { type StoreLike, storeOf } from "../store_like.ts";
import { type KeptKey, readKey, type VolumeKeySource } from "./key_source.ts";
import { innerOf, keyOf, OpenedStore, openedStore } from "../opened_store.ts";
import { VolumeKey } from "./volume_key.ts";
import { unwrapKey, wrapKey } from "./wrap.ts";

/** How long a store that fails is asked again, in milliseconds. */
const PATIENCE_MS = 30_000;

/** Options of {@linkcode createKey}. */
interface CreateKeyOptions {
  /** The data key: a clone has that of its source. @default A random one */
  readonly key?: VolumeKey;
  /** How long a store that fails is tried again, in milliseconds. @default 0 */
  readonly patienceMs?: number;
}

/** Puts the key of a volume that is being created. It is durable then. */
export async function createKey(
  store: Store,
  names: ObjectNames,
  volume: string,
  source: VolumeKeySource,
  { key = VolumeKey.random(), patienceMs = 0 }: CreateKeyOptions = {},
): Promise<OpenedStore> {
  const kept = readKey(source);
  const bytes = encodeKey(wrapKey(key, volume, kept));
  kept.bytes.fill(0);
  const name = names.key(volume);
  const there = await retried(async () => {
    await store.putIfAbsent(name, bytes);
    // The UUID is random: whatever is there under its name was put by this call.
    return await store.get(name);
  }, { withinMs: patienceMs });
  if (there === undefined || !areEqual(there.bytes, bytes)) {
    throw damaged(store, name, "was written, and reads as something else");
  }
  return new OpenedStore(innerOf(store), key);
}

/**
 * A volume's store, opened with its key: what is put is sealed, and what is read is opened. A volume
 * that is not encrypted, or not there, has one without a key.
 *
 * @param source The key; undefined for none.
 * @throws {UblkError} `VOLUME_KEY` if the volume is encrypted and there is no key, or the wrong one; or
 *   if there is one, and the volume is not encrypted. Nothing has changed then.
 */
export async function unlocked(
  store: Store,
  name: string,
  source: VolumeKeySource | undefined,
): Promise<Store> {
  if (keyOf(store) !== undefined) return store;
  const names = new ObjectNames(name);
  const head = await headIfReadable(store, names);
  // Whoever repairs a volume without a head, or collects what a removed one has left, needs its key.
  const volumes = head === undefined
    ? await keysOf(store, names)
    : head.encrypted === true
    ? [head.volume]
    : [];
  if (volumes.length === 0) {
    if (source === undefined || head === undefined) return openedStore(store);
    throw keyError(name, "it is not encrypted, and a key was given", "leave the key out");
  }
  if (source === undefined) {
    throw keyError(name, "it is encrypted", "give its key: --key-file or --passphrase-file");
  }
  const kept = readKey(source);
  try {
    for (const volume of volumes) {
      const { key } = await readVolumeKey(store, names, volume, kept) ?? {};
      if (key !== undefined) return new OpenedStore(innerOf(store), key);
    }
  } finally {
    kept.bytes.fill(0);
  }
  throw wrongKey(name);
}

/** The head; undefined if it is missing or damaged. */
async function headIfReadable(store: Store, names: ObjectNames): Promise<Head | undefined> {
  // Whoever goes on with an interrupted removal needs the key, too.
  return await unlessDamaged(async () => (await readMadeHead(store, names))?.head);
}

async function unlessDamaged<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (isUblkError(error) && error.code === "VOLUME_DAMAGED") return undefined;
    throw error;
  }
}

/** The UUIDs of the keys that a store has for a name, that of the volume in its catalog first. */
async function keysOf(store: Store, names: ObjectNames): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of store.list(names.keys)) found.push(name.slice(names.keys.length));
  // A volume that never came to be has left its key.
  const last = found.length > 1 ? (await catalogIfReadable(store, names))?.volume : undefined;
  return found.toSorted((left, right) => Number(right === last) - Number(left === last));
}

async function catalogIfReadable(store: Store, names: ObjectNames): Promise<Catalog | undefined> {
  return await unlessDamaged(async () => (await readCatalog(store, names))?.catalog);
}

/** Reads a volume's data key; undefined if the key does not open it. */
async function readVolumeKey(
  store: Store,
  names: ObjectNames,
  volume: string,
  kept: KeptKey,
): Promise<{ key: VolumeKey; version: Version } | undefined> {
  const name = names.key(volume);
  const found = await store.get(name);
  if (found === undefined) throw damaged(store, name, "is missing: nothing else opens the volume");
  const key = unwrapKey(decoded(store, name, () => decodeKey(found.bytes, volume)), kept);
  return key === undefined ? undefined : { key, version: found.version };
}

/**
 * Gives a volume another key to open it with. Its data stays as it is, and whoever has it attached goes
 * on. A copy of the old object `NAME/keys/…` still opens with the old key.
 *
 * @throws {UblkError} `VOLUME_NOT_FOUND`; `VOLUME_KEY` if the old key is not the right one.
 */
export async function rekeyVolume(
  store: StoreLike,
  name: string,
  from: VolumeKeySource,
  to: VolumeKeySource,
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const opened = innerOf(await storeOf(store, stack));
  const names = new ObjectNames(name);
  const head = (await readHead(opened, names))?.head;
  if (head === undefined) throw notFound(opened, name);
  if (head.encrypted !== true) {
    throw keyError(name, "it is not encrypted", "copy its data into a volume that is");
  }
  const before = readKey(from);
  const after = readKey(to);
  await retried(async () => {
    const found = await readVolumeKey(opened, names, head.volume, before);
    if (found === undefined) {
      // The answer of an attempt before was lost.
      if (await readVolumeKey(opened, names, head.volume, after) !== undefined) return;
      throw wrongKey(name);
    }
    const bytes = encodeKey(wrapKey(found.key, head.volume, after));
    found.key[Symbol.dispose]();
    const object = names.key(head.volume);
    if (await opened.replace(object, bytes, found.version) !== undefined) return;
    // A lost answer looks like a lost race, and so does an attempt before that came late.
    if (await readVolumeKey(opened, names, head.volume, after) !== undefined) return;
    throw keyError(name, "somebody else has given it another key meanwhile", "try again");
  }, { withinMs: PATIENCE_MS });
  before.bytes.fill(0);
  after.bytes.fill(0);
}

function wrongKey(name: string): UblkError {
  return keyError(
    name,
    "the key does not open it",
    "give the key that it was created with, or its newest one",
  );
}

function keyError(name: string, reason: string, hint: string): UblkError {
  return new UblkError("VOLUME_KEY", { operation: `volume ${name}`, reason, hint });
}
