/**
 * Data of sparse chunks that is to be written anew, so that those chunks can go. It is read beside the
 * drain, as it was at a base. Every commit since takes out the blocks that it has changed: so what is
 * left is, block by block, still where it was read.
 *
 * @module
 */

import type { Store } from "../../store/store.ts";
import { assert } from "../../uapi/error.ts";
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
   * A chunk that is missing is damage.
   *
   * @default false: somebody else has collected by a newer base, which does not need it
   */
  readonly mustExist?: boolean;
  /** Most bytes of chunks to read in a second. @default {Infinity} */
  readonly bandwidth?: number;
  /** Ends the reading. */
  readonly signal?: AbortSignal;
}

/** Data that is to be moved. */
export class Moves {
  readonly #fresh: BlockMap;
  readonly #blockSize: number;
  readonly #data: Uint8Array<ArrayBuffer>[] = [];

  private constructor(blocks: number, blockSize: number) {
    this.#fresh = new BlockMap({ blocks, step: 1 });
    this.#blockSize = blockSize;
  }

  /** Reads data. @throws {UblkError} `VOLUME_DAMAGED`; the signal's reason. */
  static async read(parts: MovesParts): Promise<Moves> {
    const { names, manifest, map, chunks, mustExist = false, bandwidth, signal } = parts;
    const store = new PacedStore(parts.store, bandwidth);
    const { blockSize } = manifest;
    const moves = new Moves(map.blocks, blockSize);
    const extents = new Map<number, { block: number; count: number; nth: number }[]>();
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
      // What is not needed of the chunk is not held.
      const kept = new Uint8Array(found.reduce((sum, { count }) => sum + count, 0) * blockSize);
      let end = 0;
      for (const { block, count, nth } of found) {
        moves.#fresh.set(block, count, moves.#data.length);
        for (let one = nth; one < nth + count; one++) {
          const at = dataAt + one * blockSize;
          const data = bytes.subarray(at, at + blockSize);
          if (data.length !== blockSize || sumOf(data) !== sums[one]) {
            throw damaged(store, object, `: block ${one} has a wrong checksum`);
          }
          kept.set(data, end);
          moves.#data.push(kept.subarray(end, end += blockSize));
        }
      }
    }
    return moves;
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
