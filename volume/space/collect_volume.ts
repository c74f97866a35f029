/**
 * Collects the garbage of a volume on request.
 *
 * @module
 */

import { realFiles } from "../../files/real.ts";
import type { Store } from "../../store/store.ts";
import { isUblkError, UblkError } from "../../uapi/error.ts";
import { catalogOf, checkNotRemoved } from "../catalog.ts";
import { briefClaim, Committed } from "../committed.ts";
import { damaged, decoded, type ManifestName, notFound, readHead } from "../state.ts";
import type { Head } from "../format/head.ts";
import { AT, VolumeCounters } from "../counters.ts";
import { ChunkAdder } from "../drain/add.ts";
import { decodeManifest } from "../format/manifest.ts";
import { NO_UUID } from "../format/record.ts";
import { readIdentity } from "../journal/identity.ts";
import { askServer } from "../marks/door.ts";
import { isServed } from "../marks/served.ts";
import { ObjectNames } from "../names.ts";
import { MACHINE, type Seam } from "../seam.ts";
import { type StoreLike, storeOf } from "../store_like.ts";
import { waitForStore } from "../wait_for_store.ts";
import { collectGarbage, type Freed } from "./collect.ts";
import { Moves } from "./moves.ts";
import { PlainSizes } from "./plain_sizes.ts";
import { collectRemoved } from "./removed.ts";
import { ON_REQUEST, sparseChunks } from "./sparse.ts";

/** Time between two looks at the catalog, in milliseconds. */
const LOOK_MS = 200;
/** How long the server of a volume may take to answer that it was asked, in milliseconds. */
const ANSWER_MS = 10_000;
/** How long it may take to get to it, in milliseconds. */
const PATIENCE_MS = 300_000;

/** Options of {@linkcode collectVolume}. */
export interface CollectVolumeOptions {
  /**
   * The folder of journals: with it, what is in the journal counts too if the volume is attached here, and
   * its server is asked to collect at once.
   *
   * @default What the store has counts
   */
  readonly journal?: string;
  /**
   * Most bytes in a second that are read of chunks whose data is moved.
   *
   * @default {Infinity}
   */
  readonly bandwidth?: number;
  /**
   * Called after each object that was deleted, with how many there are to delete in this round. Data is
   * moved between two rounds.
   *
   * @default Nobody is told
   */
  readonly onProgress?: (done: number, total: number) => void;
  /**
   * How long to wait for the server of a volume that is attached, in milliseconds.
   *
   * @default 5 minutes
   */
  readonly patienceMs?: number;
  /**
   * Time and randomness, for tests.
   *
   * @default The machine's
   */
  readonly seam?: Seam;
}

/**
 * Deletes everything that a volume, its snapshots and its readers do not need. Data of chunks that are
 * mostly garbage is moved first, if nobody has the volume attached. Whoever has it attached does all
 * that by himself now and then. Then only he knows what he has stopped reading: this waits until
 * he has got to what the store has now, and does what is left.
 *
 * @returns What this call has freed, and whoever has it attached while it waited.
 * @throws {UblkError} `VOLUME_NOT_FOUND`; `VOLUME_BUSY` if whoever has it attached does not get to it in
 *   time, or is dead; `VOLUME_DAMAGED` if an object is missing or damaged that says what is needed, or once
 *   all else is done: data was not moved, because its chunk is damaged.
 */
export async function collectVolume(
  store: StoreLike,
  name: string,
  options: CollectVolumeOptions = {},
): Promise<Freed> {
  await using stack = new AsyncDisposableStack();
  const opened = await storeOf(store, stack);
  const names = new ObjectNames(name);
  const found = await readHead(opened, names);
  if (found === undefined) {
    // What clones of a removed volume have needed goes without being asked, unless that was interrupted.
    const freed = await collectRemoved(opened, names, options.seam ?? MACHINE);
    if (freed === undefined || freed.objects === 0) throw notFound(opened, name);
    return freed;
  }
  return found.head.journal === NO_UUID
    ? await collectDetached(opened, names, options)
    : await collectAttached(opened, names, found.head, options);
}

async function collectDetached(
  store: Store,
  names: ObjectNames,
  { seam = MACHINE, bandwidth, onProgress }: CollectVolumeOptions,
): Promise<Freed> {
  const committed = await Committed.claim(
    store,
    names.volume,
    briefClaim(seam, "a collection"),
    (head) => {
      if (head.journal === NO_UUID) return NO_UUID;
      throw busy(names.volume, head.host, "has just attached it", "try again");
    },
  );
  try {
    const parts = { store, names, seam, onProgress };
    const collect = async () => {
      const collected = await collectGarbage({ ...parts, base: committed.head });
      const catalog = await catalogOf(store, names, committed.head.volume);
      if (collected === undefined) checkNotRemoved(catalog, store, names.volume);
      return collected;
    };
    let collected = await collect();
    if (collected === undefined) {
      // A rollback was interrupted: only a newer manifest says what is needed.
      await committed.commit({});
      collected = (await collect())!;
    }
    let freed: Freed = collected;
    const sizes = new PlainSizes();
    const damage = new Map<number, Error>();
    const unmoved = new Set<number>();
    for (;;) {
      const sized = await sizes.of(store, names, collected);
      const held = sized.held.filter(({ chunk }) => !unmoved.has(chunk));
      const chunks = sparseChunks({ ...sized, held }, ON_REQUEST);
      if (chunks.size === 0) {
        if (damage.size > 0) throw stays(names, damage);
        return freed;
      }
      const moves = await Moves.read({ store, names, ...collected, chunks, bandwidth });
      for (const [chunk, error] of moves.damaged) {
        damage.set(chunk, error);
        unmoved.add(chunk);
      }
      if (moves.blocks === 0) {
        // They are damaged, or gone: with the volume, or because somebody has it attached and collects.
        await committed.check();
        for (const chunk of chunks) unmoved.add(chunk);
        continue;
      }
      const moved = await moveData(committed, moves);
      collected = (await collect())!;
      freed = {
        objects: freed.objects + collected.objects,
        bytes: freed.bytes + collected.bytes - moved,
        chunks: freed.chunks + collected.chunks,
        neededBytes: collected.neededBytes,
      };
    }
  } finally {
    await committed.release();
  }
}

/** The error of damaged chunks, after all else has been done. */
function stays(names: ObjectNames, damage: ReadonlyMap<number, Error>): UblkError {
  const [first] = damage.values();
  const others = damage.size === 1 ? "" : `; ${damage.size - 1} more chunks are damaged`;
  return new UblkError("VOLUME_DAMAGED", {
    operation: `collect the garbage of ${names.volume}`,
    reason: `all else is done, and data stays where it is: ${reasonOf(first)}${others}`,
    hint: `\`ublk-volume scrub ${names.volume}\` lists all of it, and mends what it can`,
    cause: first,
  });
}

function reasonOf(error: Error): string {
  return isUblkError(error) ? `${error.operation}: ${error.reason}` : error.message;
}

/** Writes data anew. @returns Bytes of the objects that it took. */
async function moveData(committed: Committed, moves: Moves): Promise<number> {
  const counters = new VolumeCounters();
  const { sequence } = committed.manifest;
  const adder = new ChunkAdder(committed, counters);
  const { extents: _, ...added } = await adder.add(moves, sequence + 1, sequence);
  await committed.commit(added);
  return counters.get(AT.chunkWrittenBytes) + counters.get(AT.mapWrittenBytes);
}

async function collectAttached(
  store: Store,
  names: ObjectNames,
  attached: Head,
  options: CollectVolumeOptions,
): Promise<Freed> {
  const { journal, patienceMs = PATIENCE_MS, seam = MACHINE, onProgress } = options;
  const { volume } = names;
  // Undefined if it is attached elsewhere.
  const folder = journal === undefined ? undefined : folderHere(`${journal}/${volume}`, attached);
  let isAsked = false;
  let wasGone = false;
  const before = await bytesOf(store, names);
  if (folder !== undefined) await waitForStore(store, volume, { journal: journal! });
  const end = seam.clock() + patienceMs;
  let wanted: number | undefined = undefined;
  for (;;) {
    const found = await readHead(store, names);
    if (found === undefined) throw notFound(store, volume);
    const { head } = found;
    if (head.journal === NO_UUID) return await collectDetached(store, names, options);
    wanted ??= head.manifest;
    const { floor } = await catalogOf(store, names, head.volume);
    if (floor >= wanted) {
      const base = await nameOf(store, names, head, floor);
      const freed = base && await collectGarbage({ store, names, base, seam, onProgress });
      if (freed !== undefined) {
        const bytes = Math.max(freed.bytes, before - await bytesOf(store, names));
        return { ...freed, bytes };
      }
    }
    if (folder !== undefined) {
      const isGone = !isServed(realFiles, folder);
      // The head may have been read just before it was detached.
      if (isGone && wasGone) {
        const hint = `attach it: ublk-volume attach ${volume}`;
        throw busy(volume, head.host, "had it attached, and its server has died", hint);
      }
      wasGone = isGone;
      isAsked ||= !isGone && await askServer(folder, { collect: wanted }, ANSWER_MS) === "asked";
    }
    if (seam.clock() > end) {
      const hint = isAsked
        ? "its log says why it gives no space back"
        : "is it alive? on that machine, this asks the server to";
      throw busy(volume, head.host, "has it attached, and has not got to it", hint);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/** The folder of a journal if it is the one with which a volume is attached. */
function folderHere(folder: string, { journal }: Head): string | undefined {
  if (realFiles.status(folder) === undefined) return undefined;
  return readIdentity(realFiles, folder)?.journal === journal ? folder : undefined;
}

/** The name of the manifest at the floor; undefined if the floor has risen since. */
async function nameOf(
  store: Store,
  names: ObjectNames,
  { volume }: Head,
  floor: number,
): Promise<ManifestName | undefined> {
  const object = names.manifest(floor);
  const found = await store.get(object);
  if (found === undefined) {
    if ((await catalogOf(store, names, volume)).floor > floor) return undefined;
    throw damaged(store, object, "is missing, and is needed");
  }
  const { sum } = decoded(store, object, () => decodeManifest(found.bytes, volume));
  return { volume, manifest: floor, manifestSum: sum };
}

/** Bytes of all objects. */
async function bytesOf(store: Store, names: ObjectNames): Promise<number> {
  let bytes = 0;
  for await (const { size } of store.list(`${names.volume}/`)) bytes += size;
  return bytes;
}

function busy(name: string, host: string, what: string, hint: string): UblkError {
  return new UblkError("VOLUME_BUSY", {
    operation: `collect the garbage of ${name}`,
    reason: `${host || "somebody"} ${what}`,
    hint,
  });
}
