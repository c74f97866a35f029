/**
 * Makes a clone a volume that shares nothing.
 *
 * @module
 */

import type { Store } from "../store/store.ts";
import { UblkError } from "../uapi/error.ts";
import { enterRun, loadMaps } from "./attach.ts";
import { catalogOf, changeCatalog } from "./catalog.ts";
import { briefClaim, Committed } from "./committed.ts";
import { areEqual, readManifest } from "./state.ts";
import { VolumeCounters } from "./counters.ts";
import { ChunkAdder } from "./drain/add.ts";
import { levelOf } from "./drain/merge.ts";
import type { RunEntry } from "./format/manifest.ts";
import { chunkOf } from "./format/place.ts";
import { NO_UUID } from "./format/record.ts";
import { Extents } from "./format/run.ts";
import type { BlockMap } from "./map/block_map.ts";
import type { ObjectNames } from "./names.ts";
import { encodeRunFor } from "./opened_store.ts";
import { isOwnChunk, sharedAncestors } from "./owners.ts";
import { MACHINE, type Seam } from "./seam.ts";
import { collectGarbage } from "./space/collect.ts";
import { Moves } from "./space/moves.ts";
import { ancestorsIn, releaseAncestors } from "./space/removed.ts";
import { type StoreLike, storeOf } from "./store_like.ts";
import type { TransferProgress } from "./transfer.ts";

/** Bytes of data of one commit, or of one chunk if that is more. */
const PORTION_BYTES = 64 << 20;

/** Options of {@linkcode flattenVolume}. */
export interface FlattenOptions {
  /**
   * Bytes of data of one commit.
   *
   * @default 64 MiB
   */
  readonly portionBytes?: number;
  /**
   * Called after each commit.
   *
   * @default Nobody is told
   */
  readonly onProgress?: (progress: TransferProgress) => void;
  /**
   * Time and randomness, for tests.
   *
   * @default The machine's
   */
  readonly seam?: Seam;
}

/** The outcome of {@linkcode flattenVolume}. */
export interface Flattened {
  /** Bytes of data that were copied. */
  readonly copiedBytes: number;
  /** The names of its snapshots and clones that still share data with its ancestors. */
  readonly sharing: readonly string[];
}

/**
 * Copies everything that a clone shares with its ancestors, in commits of their own. If it is
 * interrupted, what was copied stays, and the next call goes on. Then its ancestors need not keep
 * anything for it, unless a snapshot or a clone of it shares their data.
 *
 * @throws {UblkError} `VOLUME_NOT_FOUND`; `VOLUME_BUSY` if it is attached, or was not detached in
 *   order; `VOLUME_DAMAGED`.
 */
export async function flattenVolume(
  store: StoreLike,
  name: string,
  { portionBytes = PORTION_BYTES, onProgress, seam = MACHINE }: FlattenOptions = {},
): Promise<Flattened> {
  await using stack = new AsyncDisposableStack();
  const opened = await storeOf(store, stack);
  const committed = await Committed.claim(
    opened,
    name,
    briefClaim(seam, "a flattening"),
    ({ journal, host }) => {
      if (journal === NO_UUID) return NO_UUID;
      throw new UblkError("VOLUME_BUSY", {
        operation: `flatten ${name}`,
        reason: `${host || "somebody"} has it attached, or has not detached it`,
        hint: `detach it first: ublk-volume detach ${name}`,
      });
    },
  );
  try {
    const copiedBytes = await copyShared(committed, portionBytes, onProgress);
    const { names, manifest: { volume, number } } = committed;
    const objects: string[] = [];
    for await (const object of opened.list(names.manifests)) objects.push(object.name);
    const ancestors = await ancestorsIn(opened, names, objects);
    // No older manifest gets a name any more. Nobody has it attached, and readers are in the catalog.
    await changeCatalog({ store: opened, names, volume, seam }, (catalog) => {
      return catalog.floor >= number ? undefined : { ...catalog, floor: number };
    });
    await releaseAncestors(opened, ancestors, seam);
    await collectGarbage({ store: opened, names, base: committed.head, seam });
    return { copiedBytes, sharing: await sharingIn(opened, names, volume) };
  } finally {
    await committed.release();
  }
}

/** Copies data, portion by portion. @returns How many bytes. */
async function copyShared(
  committed: Committed,
  portionBytes: number,
  onProgress: FlattenOptions["onProgress"],
): Promise<number> {
  const { store, names } = committed;
  if (sharedAncestors(names, committed.manifest).length === 0) return 0;
  const adder = new ChunkAdder(committed, new VolumeCounters());
  const maps = await loadMaps(committed);
  const { blockSize } = committed.manifest;
  const shared = sharedChunks(maps.chunks, (chunk) => {
    return !isOwnChunk(names, committed.manifest, chunk);
  });
  let totalBytes = 0;
  for (const blocks of shared.values()) totalBytes += blocks * blockSize;
  let copiedBytes = 0;
  for (const chunks of portions(shared, portionBytes / blockSize)) {
    const { manifest } = committed;
    const map = maps.chunks;
    const moves = await Moves.read({ store, names, manifest, map, chunks, mustExist: true });
    copiedBytes += moves.blocks * blockSize;
    // As of the last batch: it says nothing new.
    const { sequence } = manifest;
    const { extents, ...added } = await adder.add(moves, sequence + 1, sequence);
    await committed.commit(added);
    enterRun(maps, extents);
    onProgress?.({ doneBytes: copiedBytes, totalBytes, copiedBytes });
  }
  const { runs, nextRun } = await wholeMap(committed, maps.chunks);
  await committed.commit({ runs, nextRun, ancestors: [] });
  return copiedBytes;
}

/** Sets of chunks with so many blocks at most, or of one. */
function* portions(shared: ReadonlyMap<number, number>, most: number): Generator<Set<number>> {
  let chunks = new Set<number>();
  let sum = 0;
  for (const [chunk, blocks] of shared) {
    if (sum > 0 && sum + blocks > most) {
      yield chunks;
      chunks = new Set();
      sum = 0;
    }
    chunks.add(chunk);
    sum += blocks;
  }
  if (sum > 0) yield chunks;
}

/** The chunks that are shared, and how many blocks of each are needed. */
function sharedChunks(map: BlockMap, isShared: (chunk: number) => boolean): Map<number, number> {
  const found = new Map<number, number>();
  for (const cursor = map.cursor(); cursor.next();) {
    const chunk = chunkOf(cursor.place);
    if (isShared(chunk)) found.set(chunk, (found.get(chunk) ?? 0) + cursor.count);
  }
  return found;
}

/** Puts the whole block map as one run. */
async function wholeMap(
  { store, names, manifest }: Committed,
  map: BlockMap,
): Promise<{ runs: RunEntry[]; nextRun: number }> {
  const extents = new Extents();
  for (const cursor = map.cursor(); cursor.next();) {
    extents.push(cursor.block, cursor.count, cursor.place);
  }
  const entries = extents.length;
  if (entries === 0) return { runs: [], nextRun: manifest.nextRun };
  for (let number = manifest.nextRun;; number++) {
    const { bytes, sum } = encodeRunFor(store, manifest.volume, number, extents);
    const name = names.run(number);
    if (await store.putIfAbsent(name, bytes) === undefined) {
      const found = await store.get(name);
      if (found === undefined || !areEqual(found.bytes, bytes)) continue;
    }
    return {
      runs: [{ number, entries, level: levelOf(entries), bytes: bytes.length, sum }],
      nextRun: number + 1,
    };
  }
}

/** The entries of a catalog that have ancestors. */
async function sharingIn(store: Store, names: ObjectNames, volume: string): Promise<string[]> {
  const { entries } = await catalogOf(store, names, volume);
  const found: string[] = [];
  for (const entry of entries) {
    const manifest = await readManifest(store, names, { ...entry, volume });
    if (sharedAncestors(names, manifest).length > 0) found.push(entry.name);
  }
  return found;
}
