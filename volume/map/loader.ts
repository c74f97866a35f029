/**
 * Builds leaves from sorted runs, each at once in its final size.
 *
 * @module
 */

import { fail } from "../../uapi/error.ts";
import { EXTENT_WORDS } from "./leaf_classes.ts";
import { writeExtent } from "./sorted_leaf.ts";

const TWO_32 = 0x1_0000_0000;
const MOST = Number.MAX_SAFE_INTEGER;

/** Sorted runs that do not overlap. */
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

/** The map of a loader. */
interface LoadedMap {
  readonly blocks: number;
  readonly blocksPerLeaf: number;
  readonly step: number;
}

/** Takes the extents of one leaf: the loader's words, their number, and their number of blocks. */
export type TakeLeaf = (leaf: number, extents: number, mapped: number) => void;

/** Gathers the extents of one leaf after the other. */
export class Loader {
  /** The extents of the leaf, as in `sorted_leaf.ts`: the keys, then the places. */
  readonly words: Int32Array<ArrayBuffer>;
  /** Where {@linkcode words} has the places. */
  readonly places: number;
  readonly #map: LoadedMap;
  readonly #take: TakeLeaf;
  #leaf = -1;
  #extents = 0;
  #mapped = 0;
  /** The last extent, which the next run may continue. */
  #start = 0;
  #end = 0;
  #place = -1;

  /** For leaves of one map. */
  constructor(map: LoadedMap, take: TakeLeaf) {
    this.#map = map;
    this.#take = take;
    this.places = map.blocksPerLeaf;
    this.words = new Int32Array(EXTENT_WORDS * map.blocksPerLeaf);
  }

  /** Takes all runs. */
  load({ blocks, counts, places, length }: SortedRuns): void {
    const { blocksPerLeaf, step } = this.#map;
    if (length > Math.min(blocks.length, counts.length, places.length)) fail("the runs are there");
    this.#clear();
    let last = 0;
    for (let nth = 0; nth < length; nth++) {
      let block = blocks[nth];
      let place = places[nth];
      const end = block + counts[nth];
      if (!(block >= last && end > block && end <= this.#map.blocks)) fail("the runs are sorted");
      if (!(place >= 0 && place + (end - block - 1) * step <= MOST)) fail("a place has 53 bits");
      last = end;
      while (block < end) {
        const leaf = Math.floor(block / blocksPerLeaf);
        if (leaf !== this.#leaf) {
          this.#finish();
          this.#leaf = leaf;
        }
        const first = leaf * blocksPerLeaf;
        const stop = Math.min(end - first, blocksPerLeaf);
        this.#add(block - first, stop, place);
        place += (stop - (block - first)) * step;
        block = first + stop;
      }
    }
    this.#finish();
  }

  #add(start: number, end: number, place: number): void {
    this.#mapped += end - start;
    const isNext = this.#extents > 0 && start === this.#end &&
      place === this.#place + (start - this.#start) * this.#map.step;
    if (isNext) this.#extents--;
    else {
      this.#start = start;
      this.#place = place;
    }
    this.#end = end;
    const extent = this.#extents++;
    const high = this.#place / TWO_32 | 0;
    writeExtent(this.words, 0, this.places, extent, this.#start, end, high, this.#place | 0);
  }

  #finish(): void {
    if (this.#extents > 0) this.#take(this.#leaf, this.#extents, this.#mapped);
    this.#clear();
  }

  #clear(): void {
    this.#leaf = -1;
    this.#extents = 0;
    this.#mapped = 0;
  }
}
