/**
 * Goes over the extents of a block map in order of blocks, without garbage.
 *
 * @module
 */

/** The lookups of a map that a cursor needs. */
interface Lookups {
  readonly place: number;
  find(block: number, count: number): number;
  nextMapped(block: number, end: number): number;
}

/**
 * A position in a map.
 *
 * The map may change between two steps: the cursor sees the changes ahead of it.
 *
 * @example Every extent
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { BlockMap } from "./block_map.ts";
 *
 * const map = new BlockMap({ blocks: 1000, step: 1 });
 * map.set(10, 4, 100);
 * const seen = [];
 * for (const cursor = map.cursor(); cursor.next();) {
 *   seen.push([cursor.block, cursor.count, cursor.place]);
 * }
 * assertEquals(seen, [[10, 4, 100]]);
 * ```
 */
export class MapCursor {
  /** The first block of the extent. */
  block: number = -1;
  /** Its number of blocks. */
  count = 0;
  /** The place of its first block. */
  place: number = -1;
  readonly #map: Lookups;
  readonly #end: number;
  #next: number;

  /** Stands before the first extent. Call `BlockMap.cursor`. */
  constructor(map: Lookups, block: number, end: number) {
    this.#map = map;
    this.#next = block;
    this.#end = end;
  }

  /** Goes to the next extent, or returns false after the last one. */
  next(): boolean {
    const map = this.#map;
    const block = map.nextMapped(this.#next, this.#end);
    if (block < 0) return false;
    this.count = map.find(block, this.#end - block);
    this.block = block;
    this.place = map.place;
    this.#next = block + this.count;
    return true;
  }
}
