/**
 * Repairs a volume whose head, manifest or map is damaged: makes what is missing again, from what is
 * left, and commits it. Nothing is deleted and no object but the head is replaced, so that a repair can be
 * judged, and one that was interrupted has changed nothing.
 *
 * @module
 */

import { formatSize } from "../../disk/size.ts";
import type { Store } from "../../store/store.ts";
import { UblkError } from "../../uapi/error.ts";
import { areEqual } from "../state.ts";
import { levelOf } from "../drain/merge.ts";
import { leastChunkBytes } from "../format/compression.ts";
import { encodeHead, type Head } from "../format/head.ts";
import { encodeManifest, type Manifest, type RunEntry } from "../format/manifest.ts";
import { chunkOf } from "../format/place.ts";
import { NO_UUID } from "../format/record.ts";
import { Extents } from "../format/run.ts";
import type { BlockMap } from "../map/block_map.ts";
import { ObjectNames, SKIPPED_NUMBERS } from "../names.ts";
import { ownerOfChunk, sharedAncestors } from "../owners.ts";
import { encodeRunFor, keyOf } from "../opened_store.ts";
import { unlocked } from "../seal/unlock.ts";
import { MACHINE, type Seam } from "../seam.ts";
import { type StoreLike, storeOf } from "../store_like.ts";
import { birthOf } from "./birth.ts";
import { rebuild, type Rebuilt, UnknownSize } from "./rebuild.ts";
import { readTable, type Remains, remainsOf } from "./remains.ts";

/** The most bytes of a chunk, where no manifest tells. */
const CHUNK_BYTES = 4 << 20;
/** Ranges of blocks that a line names. */
const NAMED_RANGES = 8;

/** Options of {@linkcode repairVolume}. */
export interface RepairOptions {
  /**
   * The size of the disk in bytes, which only manifests tell.
   *
   * @default It is an error if none is left
   */
  readonly size?: number;
  /**
   * Repair it although somebody has it open, or has died with it open: he cannot commit any more.
   *
   * @default false
   */
  readonly force?: boolean;
  /**
   * Called after each object with the objects that are done, and that there are.
   *
   * @default Nobody is told
   */
  readonly onProgress?: (done: number, total: number) => void;
  /**
   * Time and randomness, for tests.
   *
   * @default The machine's
   */
  readonly seam?: Seam;
}

/** The outcome of a repair. */
export interface RepairReport {
  /** Something was repaired: false if head, manifest and map were sound. */
  readonly repaired: boolean;
  /** What is lost, or may be wrong, a line each. */
  readonly losses: readonly string[];
  /** Bytes of the disk whose data is in chunks that are missing or damaged. */
  readonly lostBytes: number;
  /** The size of the disk in bytes. */
  readonly size: number | undefined;
}

/**
 * Repairs a volume's head, manifest and map. Data that is damaged stays so, and reads as EIO.
 *
 * @throws {UblkError} `VOLUME_NOT_FOUND`; `VOLUME_BUSY` if it is attached; `INVALID_ARGUMENT` if nobody
 *   knows the size of the disk; `VOLUME_FENCED` if somebody has changed it meanwhile.
 */
export async function repairVolume(
  store: StoreLike,
  name: string,
  { size, force = false, onProgress, seam = MACHINE }: RepairOptions = {},
): Promise<RepairReport> {
  await using stack = new AsyncDisposableStack();
  const opened = await unlocked(await storeOf(store, stack), name, undefined);
  const names = new ObjectNames(name);
  const remains = await remainsOf(opened, names);
  let rebuilt: Rebuilt | undefined;
  try {
    rebuilt = await rebuild({ store: opened, names, remains, size, onProgress });
  } catch (error) {
    if (error instanceof UnknownSize) throw unknownSize(name, error.least);
    throw error;
  }
  if (rebuilt === undefined) return { repaired: false, losses: [], lostBytes: 0, size: undefined };
  const head = remains.head?.head;
  if (head !== undefined && head.journal !== NO_UUID && !force) throw attached(name, head);
  const { losses, lostBytes } = await lossesOf(opened, names, remains, rebuilt);
  await commit(opened, names, remains, rebuilt, seam);
  return { repaired: true, losses, lostBytes, size: rebuilt.size };
}

function unknownSize(name: string, least: number): UblkError {
  return new UblkError("INVALID_ARGUMENT", {
    operation: `repair ${name}`,
    reason: `no manifest is left that tells the size of the disk; its data needs ${least} bytes`,
    hint: "give its size, which is that much at least",
  });
}

function attached(name: string, { host }: Head): UblkError {
  return new UblkError("VOLUME_BUSY", {
    operation: `repair ${name}`,
    reason: `${host || "somebody"} has it attached, or has died with it attached`,
    hint: "end that server first; with force it is repaired all the same, and its server cut off",
  });
}

/** What is lost. */
async function lossesOf(
  store: Store,
  names: ObjectNames,
  { head, volume, chunks }: Remains,
  { maps, base, blockSize, losses, isExactBase }: Rebuilt,
): Promise<{ losses: string[]; lostBytes: number }> {
  const all = [...losses];
  if (head === undefined) {
    all.unshift(
      `${names.head} is lost: what only a journal had, if the volume was not detached, is lost too`,
    );
  } else if (head.head.journal !== NO_UUID && !isExactBase) {
    all.unshift("its journal cannot continue what is left: what only the journal has is lost");
  }
  const source = base && sharedAncestors(names, base).at(-1)?.name;
  if (source !== undefined && await birthOf(store, names, volume, source) === undefined) {
    all.push(
      `${source} does not keep what it shares with ${names.volume} any more: flatten ` +
        `${names.volume} before anybody collects the garbage of ${source}`,
    );
  }
  let lostBytes = 0;
  for (const [chunk, ranges] of rangesByChunk(maps.chunks)) {
    const ancestry = { volume, ancestors: base?.ancestors ?? [] };
    const owner = ownerOfChunk(names, ancestry, chunk);
    const table = await readTable(store, owner.names, owner.volume, chunk);
    const isOwn = owner.names.volume === names.volume;
    if (table !== undefined && (!isOwn || table.isWhole)) continue;
    const blocks = ranges.reduce((sum, [, count]) => sum + count, 0);
    lostBytes += blocks * blockSize;
    const named = ranges.slice(0, NAMED_RANGES).map(([block, count]) =>
      count === 1 ? `${block}` : `${block} to ${block + count - 1}`
    );
    if (ranges.length > NAMED_RANGES) named.push("…");
    const how = isOwn && !chunks.has(chunk) ? "is missing" : "is damaged";
    all.push(
      `${owner.names.chunk(chunk)} ${how}: ${
        formatSize(blocks * blockSize)
      } of the disk are lost or ` +
        `may be, blocks ${named.join(", ")}`,
    );
  }
  return { losses: all, lostBytes };
}

function rangesByChunk(map: BlockMap): Map<number, [number, number][]> {
  const found = new Map<number, [number, number][]>();
  for (const cursor = map.cursor(); cursor.next();) {
    const { block, count, place } = cursor;
    const chunk = chunkOf(place);
    const ranges = found.get(chunk);
    if (ranges === undefined) found.set(chunk, [[block, count]]);
    else ranges.push([block, count]);
  }
  return found;
}

/** Makes the map count. */
async function commit(
  store: Store,
  names: ObjectNames,
  remains: Remains,
  rebuilt: Rebuilt,
  seam: Seam,
): Promise<void> {
  const { volume, greatest, head: found, catalog } = remains;
  const { base, maps, size, blockSize, sequence } = rebuilt;
  const old = found?.head;
  const epoch = rebuilt.epoch + 1;
  const time = seam.now();
  const extents = new Extents();
  for (const { block, count, place } of entriesOf(maps.chunks)) extents.push(block, count, place);
  // Objects that were deleted had greater numbers perhaps: somebody may be deleting them just now, and
  // this machine's cache may have what was in them.
  const skipped = rebuilt.isExactBase ? 0 : SKIPPED_NUMBERS;
  let nextRun = Math.max(greatest.run + 1, base?.nextRun ?? 1) + skipped;
  const runs: RunEntry[] = [];
  if (extents.length > 0) {
    const put = await putFirstFree(store, nextRun, (at) => names.run(at), (at) => {
      return encodeRunFor(store, volume, at, extents);
    });
    runs.push({ ...put, entries: extents.length, level: levelOf(extents.length) });
    nextRun = put.number + 1;
  }
  let manifest: Manifest = {
    ...base ?? {
      ...shapeOf(rebuilt),
      ...{ position: 0, chain: 0, written: 0, created: time, ancestors: [], since: 0 },
    },
    ...{ volume, number: 0, epoch, size, blockSize, sequence, runs, nextRun },
    nextChunk: Math.max(greatest.chunk + 1, base?.nextChunk ?? 1) + skipped,
    written: Math.max(base?.written ?? 0, old?.written ?? 0),
    time: rebuilt.isExactBase ? base!.time : old?.time ?? base?.time ?? time,
  };
  // Written bytes of a journal that goes on are counted by it.
  const goesOn = rebuilt.isExactBase && old!.journal !== NO_UUID;
  if (goesOn) manifest = { ...manifest, written: base!.written };
  const from = 1 + skipped + Math.max(
    ...[greatest.manifest, old?.manifest ?? 0, catalog?.floor ?? 0, catalog?.least ?? 0],
    ...catalog?.entries.map((entry) => entry.manifest) ?? [],
  );
  const put = await putFirstFree(store, from, (at) => names.manifest(at), (number) => {
    return encodeManifest({ ...manifest, number });
  });
  const head: Head = {
    ...keyOf(store) === undefined ? {} : { encrypted: true },
    ...old ?? { leaseMs: 0, attached: false, journal: NO_UUID, owner: NO_UUID, host: "" },
    ...{ volume, nonce: seam.uuid(), epoch, manifest: put.number, manifestSum: put.sum, time },
    written: Math.max(manifest.written, old?.written ?? 0),
    ...goesOn ? {} : { attached: false, journal: NO_UUID, owner: NO_UUID, host: "" },
  };
  const bytes = encodeHead(head);
  const version = found?.version ?? remains.damagedHead;
  const done = version === undefined
    ? await store.putIfAbsent(names.head, bytes)
    : await store.replace(names.head, bytes, version);
  if (done !== undefined) return;
  // A lost answer looks like a lost race.
  const now = await store.get(names.head);
  if (now !== undefined && areEqual(now.bytes, bytes)) return;
  throw new UblkError("VOLUME_FENCED", {
    operation: `repair ${names.volume}`,
    reason: "somebody has changed the volume meanwhile",
    hint: "nothing was repaired; check it again",
  });
}

/** The shape of a volume of which no manifest tells it: such that its chunks can be read. */
function shapeOf({ longest, piece }: Rebuilt): Pick<Manifest, "chunkSize" | "compression"> {
  if (piece === 0) return { chunkSize: Math.max(CHUNK_BYTES, longest) };
  return { chunkSize: leastChunkBytes(piece, longest), compression: "zstd" };
}

function* entriesOf(map: BlockMap): Generator<{ block: number; count: number; place: number }> {
  for (const cursor = map.cursor(); cursor.next();) yield cursor;
}

/** Puts an object under the first number that is free. */
async function putFirstFree(
  store: Store,
  from: number,
  nameOf: (number: number) => string,
  encode: (number: number) => { bytes: Uint8Array<ArrayBuffer>; sum: number },
): Promise<{ number: number; bytes: number; sum: number }> {
  for (let number = from;; number++) {
    const { bytes, sum } = encode(number);
    const put = await store.putIfAbsent(nameOf(number), bytes);
    // A lost answer looks like a name that is taken.
    const there = put === undefined ? await store.get(nameOf(number)) : undefined;
    if (put !== undefined || there !== undefined && areEqual(there.bytes, bytes)) {
      return { number, bytes: bytes.length, sum };
    }
  }
}
