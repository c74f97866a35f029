/**
 * The sizes of a leaf in memory: a few extents, more of them, or a flat page with a place for each
 * block.
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";

/** Words of an extent in a sorted leaf. */
export const EXTENT_WORDS = 3;
/** Words of a block in a flat page. */
export const PLACE_WORDS = 2;
/** Words at the start of a leaf: its class above, its number of extents below. */
export const HEADER_WORDS = 1;

/**
 * Each size is at most half as large again as the one before, so little of a leaf is unused. Writes
 * of 1 MiB that are aligned make four extents in 4 MiB, others five.
 */
const CAPACITIES = [2, 5, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536];

/** The classes of leaves with so many blocks. */
export class LeafClasses {
  /** Most extents of each class of sorted leaves. */
  readonly capacities: Int32Array<ArrayBuffer>;
  /** The class of flat pages, after all others. */
  readonly flat: number;
  /** Words of each class. */
  readonly words: readonly number[];
  /** Words that the largest class takes. */
  readonly spanWords: number;
  /** Most extents of a sorted leaf. */
  readonly mostExtents: number;
  /** By number of extents: the smallest class that holds them. */
  readonly fitting: Uint8Array<ArrayBuffer>;

  /** Computes them. */
  constructor(blocksPerLeaf: number) {
    const spanWords = HEADER_WORDS + PLACE_WORDS * blocksPerLeaf;
    // A flat page with so few extents takes 37 bytes for each.
    const most = Math.max(4, Math.floor(blocksPerLeaf / 5));
    const fitted = CAPACITIES.filter((capacity) => capacity <= most).map((capacity) => {
      // As many blocks of a span, but using what would be left over of it.
      const blocks = Math.floor(spanWords / (HEADER_WORDS + EXTENT_WORDS * capacity));
      return Math.floor((Math.floor(spanWords / blocks) - HEADER_WORDS) / EXTENT_WORDS);
    });
    this.capacities = Int32Array.from(new Set(fitted));
    this.flat = this.capacities.length;
    this.words = [
      ...Array.from(this.capacities, (extents) => HEADER_WORDS + EXTENT_WORDS * extents),
      spanWords,
    ];
    this.spanWords = spanWords;
    this.mostExtents = this.capacities[this.flat - 1];
    this.fitting = new Uint8Array(this.mostExtents + 1);
    for (let extents = 0; extents <= this.mostExtents; extents++) {
      this.fitting[extents] = this.capacities.findIndex((capacity) => capacity >= extents);
    }
    assert(this.mostExtents < blocksPerLeaf, "more extents than that are a flat page");
  }
}
