/**
 * What differs between two states of a volume, found by comparing their maps: no data is read.
 *
 * @module
 */

import type { Files } from "../../files/port.ts";
import { realFiles } from "../../files/real.ts";
import { writeWhole, writeZeroes } from "../../files/whole.ts";
import { formatSize } from "../../disk/size.ts";
import type { Store } from "../../store/store.ts";
import { UblkError } from "../../uapi/error.ts";
import { loadMaps } from "../attach.ts";
import { HOLE } from "../format/place.ts";
import type { Manifest } from "../format/manifest.ts";
import type { BlockMap } from "../map/block_map.ts";
import { ObjectNames, referenceOf } from "../names.ts";
import { MACHINE, type Seam } from "../seam.ts";
import { type KeptState, keptState } from "../snapshots.ts";
import { type StoreLike, storeOf } from "../store_like.ts";
import type { TransferOptions, TransferProgress } from "../transfer.ts";
import { ChunkData } from "./chunk_data.ts";

/** Bytes of a portion. */
const PORTION_BYTES = 1 << 20;

/** A part of the disk that differs. */
export interface ChangedExtent {
  /** Where it begins, in bytes. */
  readonly offset: number;
  /** Its bytes. */
  readonly length: number;
  /** It reads as zeroes now. */
  readonly hole: boolean;
}

/** Options of {@linkcode diffVolumes}. */
export interface DiffOptions {
  /**
   * Time and randomness, for tests.
   *
   * @default The machine's
   */
  readonly seam?: Seam;
}

/**
 * The parts of the disk that differ between two states of a volume, in order. What was written again
 * with the same data counts as different. What a smaller disk has lost at its end is not among them.
 *
 * @example
 * ```ts ignore
 * for await (const { offset, length, hole } of diffVolumes("/srv/volumes", "db@monday", "db")) {
 *   console.log(offset, length, hole);
 * }
 * ```
 *
 * @param from The older state: `NAME@SNAPSHOT`.
 * @param to The newer one: `NAME@SNAPSHOT`, or `NAME` as the store has it.
 * @throws {UblkError} `VOLUME_NOT_FOUND`, `VOLUME_DAMAGED`; `INVALID_ARGUMENT` if they are not of one
 *   volume.
 */
export async function* diffVolumes(
  store: StoreLike,
  from: string,
  to: string,
  { seam = MACHINE }: DiffOptions = {},
): AsyncGenerator<ChangedExtent> {
  await using stack = new AsyncDisposableStack();
  const opened = await storeOf(store, stack);
  const { before, now, blockSize } = await statesOf(opened, from, to, seam, stack);
  for (const { block, count, place } of changes(before.chunks, now.chunks)) {
    yield { offset: block * blockSize, length: count * blockSize, hole: place === HOLE };
  }
}

/**
 * Brings an image that holds an older state of a volume up to a newer one: only what differs is read
 * and written. If that fails or is interrupted, the image holds neither, and the same call makes it
 * whole.
 *
 * @param path The image, which holds `from`. Only its size is looked at.
 * @returns How much was written. It is durable.
 * @throws {UblkError} As {@linkcode diffVolumes}; `INVALID_ARGUMENT` if the image has another size than
 *   the states; the errors of files.
 */
export async function exportChanges(
  store: StoreLike,
  from: string,
  to: string,
  path: string,
  { onProgress, files = realFiles, seam = MACHINE }: TransferOptions & DiffOptions = {},
): Promise<TransferProgress> {
  await using stack = new AsyncDisposableStack();
  const opened = await storeOf(store, stack);
  const states = await statesOf(opened, from, to, seam, stack);
  const { before, now, blockSize, manifest, names } = states;
  using file = files.open(path, { write: true });
  const size = file.size();
  const sizes = [states.older.size, manifest.size];
  if (!sizes.includes(size)) throw notTheImage(path, size, from, states.older.size);
  file.truncate(manifest.size);
  const all = [...changes(before.chunks, now.chunks)];
  const totalBytes = all.reduce((sum, { count }) => sum + count * blockSize, 0);
  const data = new ChunkData(opened, names, manifest);
  let [doneBytes, copiedBytes] = [0, 0];
  for (const { block, count, place } of all) {
    const most = PORTION_BYTES / blockSize;
    for (let at = 0; at < count; at += most) {
      const blocks = Math.min(most, count - at);
      const [offset, length] = [(block + at) * blockSize, blocks * blockSize];
      if (place === HOLE) clear(file, offset, length);
      else {
        writeWhole(file, await data.read(place + at, blocks, blockSize), offset);
        copiedBytes += length;
      }
      doneBytes += length;
      onProgress?.({ doneBytes, totalBytes, copiedBytes });
    }
  }
  file.sync(false);
  return { doneBytes, totalBytes, copiedBytes };
}

function clear(file: ReturnType<Files["open"]>, offset: number, length: number): void {
  if (!file.allocate("punch", offset, length)) writeZeroes(file, offset, length);
}

function notTheImage(path: string, size: number, from: string, wanted: number): UblkError {
  return new UblkError("INVALID_ARGUMENT", {
    operation: `export to ${path}`,
    reason: `it has ${formatSize(size)}, and an image of ${from} has ${formatSize(wanted)}`,
    hint: "give the image that was exported from it, or export all of it without --since",
  });
}

/** Two states, and their maps. */
export interface States {
  readonly names: ObjectNames;
  readonly older: Manifest;
  readonly manifest: Manifest;
  readonly blockSize: number;
  readonly before: { readonly chunks: BlockMap };
  readonly now: { readonly chunks: BlockMap };
}

/** Two states, which stay until the stack is disposed of. */
export async function statesOf(
  store: Store,
  from: string,
  to: string,
  seam: Seam,
  stack: AsyncDisposableStack,
): Promise<States> {
  const [older, newer] = [referenceOf(from), referenceOf(to)];
  const invalid = (reason: string, hint: string) =>
    new UblkError("INVALID_ARGUMENT", { operation: `compare ${from} with ${to}`, reason, hint });
  if (older.volume !== newer.volume) {
    throw invalid("they are of different volumes", "name two snapshots of one volume");
  }
  if (older.snapshot === undefined) {
    throw invalid(`${from} is no snapshot`, "name the older state as NAME@SNAPSHOT");
  }
  const kept: KeptState[] = [];
  for (const reference of [older, newer]) {
    const state = await keptState(store, reference, "a comparison", seam);
    stack.defer(() => state.release());
    kept.push(state);
  }
  const names = new ObjectNames(older.volume);
  const [first, second] = kept.map((state) => state.manifest);
  if (first.volume !== second.volume) {
    throw invalid("the volume was removed and made again meanwhile", "try again");
  }
  return {
    ...{ names, older: first, manifest: second, blockSize: second.blockSize },
    before: await loadMaps({ store, names, manifest: first }),
    now: await loadMaps({ store, names, manifest: second }),
  };
}

/** Blocks that differ. The place is that of the newer map; {@linkcode HOLE} for zeroes. */
export function* changes(
  before: BlockMap,
  now: BlockMap,
): Generator<{ block: number; count: number; place: number }> {
  let [block, count, place] = [0, 0, HOLE];
  for (let at = 0; at < now.blocks;) {
    let length = now.find(at, now.blocks - at);
    const found = now.place < 0 ? HOLE : now.place;
    let old = HOLE;
    if (at < before.blocks) {
      length = before.find(at, Math.min(length, before.blocks - at));
      old = before.place < 0 ? HOLE : before.place;
    }
    if (found !== old) {
      const follows = count > 0 && at === block + count &&
        (found === HOLE ? place === HOLE : place !== HOLE && found === place + count);
      if (follows) count += length;
      else {
        if (count > 0) yield { block, count, place };
        [block, count, place] = [at, length, found];
      }
    }
    at += length;
  }
  if (count > 0) yield { block, count, place };
}
