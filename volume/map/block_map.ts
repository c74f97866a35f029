/**
 * The block map of a volume, in memory: for each block of the disk the place of its newest data.
 *
 * @module
 */

import { fail } from "../../uapi/error.ts";
import { MapCursor } from "./cursor.ts";

/** Options of a {@linkcode BlockMap}. */
export interface BlockMapOptions {
  /** Number of blocks of the disk. */
  readonly blocks: number;
  /** The distance between the places of two blocks that follow each other in an extent. */
  readonly step: number;
  /**
   * Blocks per leaf, a power of two.
   *
   * @default {1024} 4 MiB in blocks of 4 KiB.
   */
  readonly blocksPerLeaf?: number;
}

/** Sorted runs that do not overlap, for {@linkcode BlockMap.loadSorted}. */
export interface SortedRuns {
  /** The first block of each run. */
  readonly blocks: Float64Array;
  /** The number of blocks of each run. */
  readonly counts: Uint32Array | Int32Array;
  /** The place of the first block of each run. */
  readonly places: Float64Array;
  /** The number of runs. */
  readonly length: number;
}

/** Takes an old piece of the map that something newer covers. It must leave the map alone. */
export type ReplaceHook = (place: number, count: number) => void;

/** A map from blocks to places. */
export class BlockMap {
  /** The place of the run that {@linkcode find} found last; -1 for a hole. */
  place = -1;
  /** Called for each piece of the map that `set` or `remove` covers. */
  onReplace: ReplaceHook | undefined = undefined;
  readonly step: number;
  readonly blocksPerLeaf: number;
  #blocks: number;
  #extents = 0;
  #mapped = 0;
  readonly #leaves = new Map<number, Float64Array>();

  /** Makes an empty map. */
  constructor({ blocks, step, blocksPerLeaf = 1024 }: BlockMapOptions) {
    this.#blocks = blocks;
    this.step = step;
    this.blocksPerLeaf = blocksPerLeaf;
  }

  /** Number of blocks of the disk. */
  get blocks(): number {
    return this.#blocks;
  }

  /** Number of extents. One that crosses from one leaf into the next counts twice. */
  get extents(): number {
    return this.#extents;
  }

  /** Number of blocks that have a place. */
  get mappedBlocks(): number {
    return this.#mapped;
  }

  /** Bytes of memory. */
  get bytes(): number {
    return this.#leaves.size * this.blocksPerLeaf * 8;
  }

  /** Maps blocks to places from `place` on. They replace any that the blocks had. */
  set(block: number, count: number, place: number): void {
    this.#within(block, count);
    if (!(place >= 0 && place + (count - 1) * this.step <= Number.MAX_SAFE_INTEGER)) {
      fail("a place is a number of 53 bits");
    }
    this.#replace(block, count, place);
  }

  /** Makes a hole. */
  remove(block: number, count: number): void {
    this.#within(block, count);
    this.#replace(block, count, -1);
  }

  /** Makes holes of the blocks whose places are `place` or lower. */
  removeUpTo(block: number, count: number, place: number): void {
    this.#within(block, count);
    const end = block + count;
    for (let at = this.nextMapped(block, end); at >= 0; at = this.nextMapped(at, end)) {
      const length = this.find(at, end - at);
      const below = Math.floor((place - this.place) / this.step) + 1;
      if (below > 0) this.#replace(at, Math.min(length, below), -1);
      at += length;
      if (at === end) break;
    }
  }

  /**
   * Looks up the run that begins at a block, and leaves its place in {@linkcode place}. A run that
   * goes on in the next leaf may come in pieces.
   *
   * @returns Its length in blocks, at most `count`.
   */
  find(block: number, count: number): number {
    this.#within(block, count);
    const offset = block % this.blocksPerLeaf;
    const most = Math.min(count, this.blocksPerLeaf - offset);
    const leaf = this.#leaves.get(Math.floor(block / this.blocksPerLeaf));
    this.place = leaf === undefined ? -1 : leaf[offset];
    let length = 1;
    while (length < most && this.#continues(leaf, offset + length)) length++;
    return length;
  }

  /** The first block from `block` to before `end` that has a place, or -1. */
  nextMapped(block: number, end: number): number {
    if (block >= end) return -1;
    const leaves = [...this.#leaves.keys()].sort((a, b) => a - b);
    for (const number of leaves) {
      const start = number * this.blocksPerLeaf;
      const leaf = this.#leaves.get(number)!;
      for (let offset = Math.max(0, block - start); offset < this.blocksPerLeaf; offset++) {
        if (start + offset >= end) return -1;
        if (leaf[offset] >= 0) return start + offset;
      }
    }
    return -1;
  }

  /** Goes over the extents from `block` to before `end`, in order of blocks. */
  cursor(block = 0, end = this.#blocks): MapCursor {
    return new MapCursor(this, block, end);
  }

  /** Maps many runs. */
  loadSorted({ blocks, counts, places, length }: SortedRuns): void {
    for (let nth = 0; nth < length; nth++) this.set(blocks[nth], counts[nth], places[nth]);
  }

  /** Changes the size of the disk. Blocks beyond it are removed. */
  resize(blocks: number): void {
    if (blocks < this.#blocks) this.remove(blocks, this.#blocks - blocks);
    this.#blocks = blocks;
  }

  #within(block: number, count: number): void {
    if (!(block >= 0 && count > 0 && block + count <= this.#blocks)) fail("blocks of the disk");
  }

  #continues(leaf: Float64Array | undefined, offset: number): boolean {
    if (leaf === undefined) return true;
    const before = leaf[offset - 1];
    return leaf[offset] === (before < 0 ? -1 : before + this.step);
  }

  #replace(block: number, count: number, place: number): void {
    const end = block + count;
    if (place < 0) {
      for (const number of [...this.#leaves.keys()].sort((a, b) => a - b)) {
        const start = Math.max(block, number * this.blocksPerLeaf);
        const stop = Math.min(end, (number + 1) * this.blocksPerLeaf);
        if (start < stop) this.#replaceIn(number, start, stop, -1);
      }
      return;
    }
    while (block < end) {
      const number = Math.floor(block / this.blocksPerLeaf);
      const stop = Math.min(end, (number + 1) * this.blocksPerLeaf);
      this.#replaceIn(number, block, stop, place);
      place += (stop - block) * this.step;
      block = stop;
    }
  }

  #replaceIn(number: number, block: number, end: number, place: number): void {
    let leaf = this.#leaves.get(number);
    if (leaf === undefined) {
      leaf = new Float64Array(this.blocksPerLeaf).fill(-1);
      this.#leaves.set(number, leaf);
    }
    const start = number * this.blocksPerLeaf;
    this.#extents -= this.#runs(leaf);
    for (let at = block - start; at < end - start;) {
      const old = leaf[at];
      let length = 1;
      while (at + length < end - start && this.#continues(leaf, at + length)) length++;
      if (old >= 0) {
        this.#mapped -= length;
        this.onReplace?.(old, length);
      }
      at += length;
    }
    for (let at = block; at < end; at++) {
      leaf[at - start] = place < 0 ? -1 : place + (at - block) * this.step;
    }
    if (place >= 0) this.#mapped += end - block;
    const runs = this.#runs(leaf);
    this.#extents += runs;
    if (runs === 0) this.#leaves.delete(number);
  }

  #runs(leaf: Float64Array): number {
    let runs = 0;
    for (let at = 0; at < leaf.length; at++) {
      if (leaf[at] >= 0 && (at === 0 || !this.#continues(leaf, at))) runs++;
    }
    return runs;
  }
}
