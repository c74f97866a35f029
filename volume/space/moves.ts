/**
 * Data of sparse chunks that is to be written anew, so that those chunks can go. It is read beside the
 * drain, as it was at a base. Every commit since takes out the blocks that it has changed: so what is
 * left is, block by block, still where it was read.
 *
 * @module
 */

import { type Store, StoreError } from "../../store/store.ts";
import { assert, isUblkError } from "../../uapi/error.ts";
import { PacedStore } from "../care/paced_store.ts";
import { damaged, decoded } from "../state.ts";
import type { CollectedRun } from "../drain/collect.ts";
import { decodeChunkTable, tableBytesOf } from "../format/chunk.ts";
import type { Manifest } from "../format/manifest.ts";
import { chunkOf, nthOf } from "../format/place.ts";
import { sumOf } from "../format/sum.ts";
import { BlockMap, type SortedRuns } from "../map/block_map.ts";
import type { ObjectNames } from "../names.ts";
import { ownerOfChunk } from "../owners.ts";

/** The parts of {@linkcode Moves}. */
export interface MovesParts {
  /** The store. */
  readonly store: Store;
  /** The names of the volume's objects. */
  readonly names: ObjectNames;
  /** The base. */
  readonly manifest: Manifest;
  /** The base's map of chunks. */
  readonly map: BlockMap;
  /** The chunks whose data is to be moved. */
  readonly chunks: ReadonlySet<number>;
  /**
   * A chunk that is missing is damage, and damage ends the reading.
   *
   * @default false: somebody else has collected a missing one by a newer base, which does not need it, and
   * a damaged one stays where it is
   */
  readonly mustExist?: boolean;
  /** Most bytes of chunks to read in a second. @default {Infinity} */
  readonly bandwidth?: number;
  /** Ends the reading. */
  readonly signal?: AbortSignal;
}

/** A part of a chunk, and where it is on the disk. */
interface Part {
  readonly block: number;
  readonly count: number;
  readonly nth: number;
}

/** Data that is to be moved. */
export class Moves {
  /** The chunks that are damaged, and how: nothing of them is moved. */
  readonly damaged: Map<number, Error> = new Map();
  readonly #fresh: BlockMap;
  readonly #blockSize: number;
  readonly #data: Uint8Array<ArrayBuffer>[] = [];

  private constructor(blocks: number, blockSize: number) {
    this.#fresh = new BlockMap({ blocks, step: 1 });
    this.#blockSize = blockSize;
  }

  /**
   * Reads data. A damaged chunk once ended the reading: as the emptiest chunks are chosen first, it was
   * chosen each time, and nothing was moved any more.
   *
   * @throws {UblkError} `VOLUME_DAMAGED` if all `mustExist`; the signal's reason.
   */
  static async read(parts: MovesParts): Promise<Moves> {
    const { names, manifest, map, chunks, mustExist = false, bandwidth, signal } = parts;
    const store = new PacedStore(parts.store, bandwidth);
    const { blockSize } = manifest;
    const moves = new Moves(map.blocks, blockSize);
    const extents = new Map<number, Part[]>();
    for (const cursor = map.cursor(); cursor.next();) {
      const { block, count, place } = cursor;
      const chunk = chunkOf(place);
      if (!chunks.has(chunk)) continue;
      const found = extents.get(chunk) ?? [];
      extents.set(chunk, found);
      found.push({ block, count, nth: nthOf(place) });
    }
    for (const [chunk, found] of extents) {
      const owner = ownerOfChunk(names, manifest, chunk);
      const object = owner.names.chunk(chunk);
      try {
        const bytes = (await store.get(object, { signal }))?.bytes;
        if (bytes === undefined && mustExist) {
          throw damaged(store, object, "is missing, and is needed");
        }
        if (bytes === undefined) continue;
        const { dataAt, sums } = decoded(
          store,
          object,
          () => decodeChunkTable(bytes.subarray(0, tableBytesOf(bytes)), owner.volume, chunk),
        );
        const kept = soundParts(bytes.subarray(dataAt), sums, blockSize, found);
        if (typeof kept === "number") {
          throw damaged(store, object, `: block ${kept} has a wrong checksum`);
        }
        moves.#add(found, kept);
      } catch (error) {
        if (mustExist || !isDamage(error)) throw error;
        moves.damaged.set(chunk, error);
      }
    }
    return moves;
  }

  #add(parts: readonly Part[], data: Uint8Array<ArrayBuffer>): void {
    let end = 0;
    for (const { block, count } of parts) {
      this.#fresh.set(block, count, this.#data.length);
      for (let one = 0; one < count; one++) {
        this.#data.push(data.subarray(end, end += this.#blockSize));
      }
    }
  }

  /** Blocks that are left to move. */
  get blocks(): number {
    return this.#fresh.mappedBlocks;
  }

  /** A commit has changed blocks: their data is elsewhere now. */
  changed({ blocks, counts, length }: SortedRuns): void {
    for (let nth = 0; nth < length; nth++) {
      // The disk may have grown since.
      const count = Math.min(counts[nth], this.#fresh.blocks - blocks[nth]);
      if (count > 0) this.#fresh.remove(blocks[nth], count);
    }
  }

  /** The blocks, in their order. */
  *runs(): Generator<CollectedRun> {
    for (const cursor = this.#fresh.cursor(); cursor.next();) {
      yield { block: cursor.block, count: cursor.count, nth: cursor.place };
    }
  }

  /** Copies blocks. */
  copy(nth: number, count: number, target: Uint8Array<ArrayBuffer>): void {
    assert(nth + count <= this.#data.length, "there are such blocks");
    for (let one = 0; one < count; one++) {
      target.set(this.#data[nth + one], one * this.#blockSize);
    }
  }
}

/** Copies what is needed of a chunk: the rest is not held. @returns Or the first block that is wrong. */
function soundParts(
  data: Uint8Array<ArrayBuffer>,
  sums: Uint32Array,
  blockSize: number,
  parts: readonly Part[],
): Uint8Array<ArrayBuffer> | number {
  const kept = new Uint8Array(parts.reduce((sum, { count }) => sum + count, 0) * blockSize);
  let end = 0;
  for (const { count, nth } of parts) {
    for (let one = nth; one < nth + count; one++) {
      const block = data.subarray(one * blockSize, (one + 1) * blockSize);
      if (block.length !== blockSize || sumOf(block) !== sums[one]) return one;
      kept.set(block, end);
      end += blockSize;
    }
  }
  return kept;
}

function isDamage(error: unknown): error is Error {
  return isUblkError(error) && error.code === "VOLUME_DAMAGED" ||
    error instanceof StoreError && error.fault === "corrupt";
}

/** Moves on their way from being read to being committed: follows the commits meanwhile. */
export class PendingMoves {
  #since: SortedRuns[] | undefined = undefined;
  #moves: Moves | undefined = undefined;

  /** Reading begins. @param since What commits have changed since the base. */
  begin(since: readonly SortedRuns[]): void {
    this.#since = [...since];
    this.#moves = undefined;
  }

  /** A commit has changed blocks. */
  changed(extents: SortedRuns): void {
    this.#since?.push(extents);
    this.#moves?.changed(extents);
  }

  /** The data has been read; undefined if there is none. */
  ready(moves: Moves | undefined): void {
    for (const extents of this.#since ?? []) moves?.changed(extents);
    this.#since = undefined;
    this.#moves = moves;
  }

  /** Takes the moves, to commit them now; undefined if there are none. */
  take(): Moves | undefined {
    const moves = this.#moves;
    this.#moves = undefined;
    return moves === undefined || moves.blocks === 0 ? undefined : moves;
  }
}
