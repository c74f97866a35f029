/**
 * The block map of a volume, in memory: for each block of the disk the place of its newest data.
 *
 * The disk is cut into leaves of 4 MiB (`leaves.ts`), and a tree finds a leaf by its number
 * (`directory.ts`). Both lie in typed arrays that grow by half a megabyte (`slabs.ts`), those of a
 * large map in huge pages (`arena.ts`). No operation makes garbage, and none copies more than a leaf.
 *
 * @module
 */

import { assert, fail } from "../../uapi/error.ts";
import { MapCursor } from "./cursor.ts";
import { Directory, LOW_BITS } from "./directory.ts";
import { Leaves, type ReplaceHook } from "./leaves.ts";
import { Loader, type SortedRuns } from "./loader.ts";
import { endOf, MOST_BLOCKS_PER_LEAF, placeOf, startOf } from "./sorted_leaf.ts";

export type { MapCursor } from "./cursor.ts";
export type { ReplaceHook } from "./leaves.ts";
export type { SortedRuns } from "./loader.ts";

/** Options of a {@linkcode BlockMap}. */
export interface BlockMapOptions {
  /** Number of blocks of the disk. */
  readonly blocks: number;
  /**
   * The distance between the places of two blocks that follow each other in an extent; 0 if all
   * blocks of an extent have one place.
   */
  readonly step: number;
  /**
   * Blocks per leaf: a power of two from 8 to 8192.
   *
   * @default {1024} 4 MiB in blocks of 4 KiB.
   */
  readonly blocksPerLeaf?: number;
}

const LEAST_BLOCKS_PER_LEAF = 8;
const TWO_32 = 0x1_0000_0000;
const MOST = Number.MAX_SAFE_INTEGER;
// V8 inlines constants of this module. It loads and checks an imported one on each use.
const LOW_MASK = 0xff_ffff;
const HIGH_FACTOR = 1 / (LOW_MASK + 1);

assert(LOW_MASK === 2 ** LOW_BITS - 1, "the parts of a leaf's number, as the directory has them");

/**
 * A map from the blocks of a disk to their places. The newest place of a block wins.
 *
 * A place is a whole number below 2^53. A block's place in an extent is that of the block before it
 * plus a fixed step.
 *
 * @example Write, overwrite, look up
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { BlockMap } from "./block_map.ts";
 *
 * const map = new BlockMap({ blocks: 1_000_000, step: 1 });
 * map.set(100, 8, 5000);
 * map.set(102, 1, 7000);
 * assertEquals([map.find(100, 8), map.place], [2, 5000]);
 * assertEquals([map.find(102, 6), map.place], [1, 7000]);
 * assertEquals([map.find(103, 5), map.place], [5, 5003]);
 * assertEquals([map.find(108, 8), map.place], [8, -1]);
 * assertEquals(map.extents, 3);
 * ```
 */
export class BlockMap {
  /** The distance between the places of neighbours in an extent. */
  readonly step: number;
  /** Blocks per leaf. */
  readonly blocksPerLeaf: number;
  #blocks = 0;
  readonly #leaves: Leaves;
  readonly #directory: Directory;
  readonly #offsetMask: number;
  readonly #leafFactor: number;
  #loader: Loader | undefined = undefined;

  /** Makes an empty map, which takes next to no memory. */
  constructor({ blocks, step, blocksPerLeaf = 1024 }: BlockMapOptions) {
    assert(Number.isSafeInteger(blocks) && blocks >= 0, "a disk has a whole number of blocks");
    assert(
      Number.isInteger(step) && step >= 0 && step < 2 ** 31,
      "places do not fall along an extent",
    );
    assert(
      blocksPerLeaf >= LEAST_BLOCKS_PER_LEAF && blocksPerLeaf <= MOST_BLOCKS_PER_LEAF &&
        Number.isInteger(Math.log2(blocksPerLeaf)),
      "the blocks of a leaf are a power of two from 8 to 8192",
    );
    this.step = step;
    this.blocksPerLeaf = blocksPerLeaf;
    this.#offsetMask = blocksPerLeaf - 1;
    this.#leafFactor = 1 / blocksPerLeaf;
    this.#leaves = new Leaves(blocksPerLeaf, step);
    this.#directory = new Directory(Math.ceil(blocks / blocksPerLeaf));
    this.#blocks = blocks;
  }

  /** Number of blocks of the disk. */
  get blocks(): number {
    return this.#blocks;
  }

  /** Number of extents. One that crosses from a leaf into the next counts in both. */
  get extents(): number {
    return this.#leaves.extents;
  }

  /** Number of blocks that have a place. */
  get mappedBlocks(): number {
    return this.#leaves.mapped;
  }

  /** Bytes of memory. */
  get bytes(): number {
    return this.#leaves.bytes + this.#directory.bytes;
  }

  /** The place of the run that {@linkcode find} found last; -1 for a hole. */
  get place(): number {
    return this.#leaves.place;
  }

  /** Called for each piece of the map that is replaced or removed. */
  get onReplace(): ReplaceHook | undefined {
    return this.#leaves.onReplace;
  }

  set onReplace(hook: ReplaceHook | undefined) {
    this.#leaves.onReplace = hook;
  }

  // `set`, `remove` and `find` are short, so that V8 inlines them: a number beyond 32 bits that is
  // passed to a call is garbage.

  /** Maps blocks to the places from `place` on. They replace any that the blocks had. */
  set(block: number, count: number, place: number): void {
    this.#checkBlocks(block, count);
    if (!(place >= 0 && place + (count - 1) * this.step <= MOST)) fail("a place has 53 bits");
    const offset = block & this.#offsetMask;
    if (offset + count > this.blocksPerLeaf) return this.#setAcross(block, count, place);
    const leaf = (block - offset) * this.#leafFactor;
    this.#change(
      leaf * HIGH_FACTOR | 0,
      leaf & LOW_MASK,
      offset,
      count,
      place / TWO_32 | 0,
      place | 0,
    );
  }

  /** Removes the places of blocks, which leaves a hole. */
  remove(block: number, count: number): void {
    this.#checkBlocks(block, count);
    const offset = block & this.#offsetMask;
    if (offset + count > this.blocksPerLeaf) return this.#removeAcross(block, count);
    const leaf = (block - offset) * this.#leafFactor;
    this.#change(leaf * HIGH_FACTOR | 0, leaf & LOW_MASK, offset, count, -1, 0);
  }

  /** Removes the places of those blocks whose place is `place` or lower. */
  removeUpTo(block: number, count: number, place: number): void {
    this.#checkBlocks(block, count);
    const end = block + count;
    for (let at = this.nextMapped(block, end); at >= 0; at = this.nextMapped(at, end)) {
      const length = this.find(at, end - at);
      const doomed = this.step === 0
        ? this.place <= place ? length : 0
        : Math.min(length, Math.floor((place - this.place) / this.step) + 1);
      if (doomed > 0) this.remove(at, doomed);
      at += length;
    }
  }

  /**
   * Looks up the run that begins at a block, an extent or a hole, and leaves its place in
   * {@linkcode place}. A run that goes on in the next leaf comes in pieces.
   *
   * @returns Its length in blocks, at most `count`.
   */
  find(block: number, count: number): number {
    this.#checkBlocks(block, count);
    const offset = block & this.#offsetMask;
    const most = this.blocksPerLeaf - offset;
    const leaf = (block - offset) * this.#leafFactor;
    return this.#find(leaf * HIGH_FACTOR | 0, leaf & LOW_MASK, offset, count < most ? count : most);
  }

  /** The first block from `block` to before `end` that has a place, or -1. */
  nextMapped(block: number, end: number): number {
    if (block >= end) return -1;
    let offset = block & this.#offsetMask;
    let leaf = (block - offset) * this.#leafFactor;
    for (;;) {
      const ref = this.#directory.find(leaf * HIGH_FACTOR | 0, leaf & LOW_MASK);
      const found = ref === 0 ? -1 : this.#leaves.nextMapped(ref, offset);
      if (found >= 0) {
        const next = leaf * this.blocksPerLeaf + found;
        return next < end ? next : -1;
      }
      leaf = this.#directory.next(leaf + 1);
      if (leaf < 0 || leaf * this.blocksPerLeaf >= end) return -1;
      offset = 0;
    }
  }

  /** Goes over the extents from `block` to before `end`, in order of blocks. */
  cursor(block = 0, end = this.#blocks): MapCursor {
    assert(block >= 0 && end <= this.#blocks, "a cursor stays within the disk");
    return new MapCursor(this, block, end);
  }

  /**
   * Maps many runs that are sorted by block and do not overlap. They replace the places that the
   * blocks had. Much faster than {@linkcode set} where the map is still empty.
   */
  loadSorted(runs: SortedRuns): void {
    this.#loader ??= new Loader(
      this,
      (leaf, extents, mapped) => this.#load(leaf, extents, mapped),
    );
    this.#loader.load(runs);
  }

  /** Changes the size of the disk. Places of blocks beyond it are removed. */
  resize(blocks: number): void {
    assert(Number.isSafeInteger(blocks) && blocks >= 0, "a disk has a whole number of blocks");
    if (blocks < this.#blocks) this.remove(blocks, this.#blocks - blocks);
    this.#directory.grow(Math.ceil(blocks / this.blocksPerLeaf));
    this.#blocks = blocks;
  }

  #checkBlocks(block: number, count: number): void {
    if (!(block >= 0 && count > 0 && block + count <= this.#blocks)) fail("blocks of the disk");
  }

  #find(high: number, low: number, offset: number, count: number): number {
    const ref = this.#directory.find(high, low);
    if (ref !== 0) return this.#leaves.find(ref, offset, offset + count) - offset;
    this.#leaves.place = -1;
    return count;
  }

  #change(
    high: number,
    low: number,
    offset: number,
    count: number,
    placeHigh: number,
    placeLow: number,
  ): void {
    const ref = this.#directory.find(high, low);
    const changed = this.#leaves.change(ref, offset, offset + count, placeHigh, placeLow);
    if (changed === ref) return;
    if (ref === 0) this.#directory.add(high, low, changed);
    else if (changed === 0) this.#directory.clear(high, low);
    else this.#directory.replace(changed);
  }

  #setAcross(block: number, count: number, place: number): void {
    const end = block + count;
    while (block < end) {
      const offset = block & this.#offsetMask;
      const length = Math.min(this.blocksPerLeaf - offset, end - block);
      this.set(block, length, place);
      block += length;
      place += length * this.step;
    }
  }

  #removeAcross(block: number, count: number): void {
    const end = block + count;
    for (let at = this.nextMapped(block, end); at >= 0; at = this.nextMapped(at, end)) {
      const offset = at & this.#offsetMask;
      const length = Math.min(this.blocksPerLeaf - offset, end - at);
      this.remove(at, length);
      at += length;
    }
  }

  /** Enters a leaf that the loader has gathered. */
  #load(leaf: number, extents: number, mapped: number): void {
    const { words, places } = this.#loader!;
    const high = leaf * HIGH_FACTOR | 0;
    const low = leaf & LOW_MASK;
    if (this.#directory.find(high, low) === 0) {
      this.#directory.add(high, low, this.#leaves.build(words, places, extents, mapped));
      return;
    }
    const first = leaf * this.blocksPerLeaf;
    for (let extent = 0; extent < extents; extent++) {
      const start = startOf(words, 0, extent);
      const count = endOf(words, 0, extent) - start;
      this.set(first + start, count, placeOf(words, places, extent));
    }
  }
}
