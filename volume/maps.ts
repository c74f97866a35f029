/**
 * The maps of an engine, which together say where each block's newest data is:
 *
 * - what is written in the journal, and not yet taken over from a commit;
 * - what was made a hole in the journal, likewise: without it, a commit of what was there before
 *   would bring that back;
 * - what is in chunks, exactly as of the last commit that was taken over.
 *
 * The first two are small: the journal is bounded. Their entries know their position in the journal,
 * so that a commit removes those that it covers, and no newer one.
 *
 * @module
 */

import { JOURNAL_UNIT } from "./format/journal_layout.ts";
import { HOLE } from "./format/place.ts";
import type { SortedRuns } from "./map/block_map.ts";
import type { Batch } from "./journal/batch.ts";
import { BlockMap } from "./map/block_map.ts";

/** Blocks read as zeroes. */
export const NOWHERE = 0;
/** Blocks are in the journal: the place is a position in units. */
export const IN_JOURNAL = 1;
/** Blocks are in a chunk. */
export const IN_CHUNK = 2;

/** Most runs of an extent. All of a volume's once made one extent, and the thread look for half a second. */
const MOST_RUNS = 1024;

/** The three maps. */
export class Maps {
  /** The kind that {@linkcode find} found last: {@linkcode NOWHERE} and so on. */
  kind = NOWHERE;
  /** The place of the first block that {@linkcode find} found last. */
  place = -1;
  /** The blocks that are in chunks. */
  readonly chunks: BlockMap;
  readonly #journal: BlockMap;
  readonly #holes: BlockMap;
  readonly #units: number;

  /** Maps of an empty disk of so many blocks. */
  constructor(blocks: number, blockSize: number) {
    this.#units = blockSize / JOURNAL_UNIT;
    this.chunks = new BlockMap({ blocks, step: 1 });
    this.#journal = new BlockMap({ blocks, step: this.#units });
    this.#holes = new BlockMap({ blocks, step: 0 });
  }

  /** Number of blocks of the disk. */
  get blocks(): number {
    return this.chunks.blocks;
  }

  /** Blocks whose newest data is in the journal only. */
  get journalBlocks(): number {
    return this.#journal.mappedBlocks;
  }

  /** Bytes of memory. */
  get bytes(): number {
    return this.chunks.bytes + this.#journal.bytes + this.#holes.bytes;
  }

  /** Changes the number of blocks. Those beyond a smaller number are holes if it grows again. */
  resize(blocks: number): void {
    this.chunks.resize(blocks);
    this.#journal.resize(blocks);
    this.#holes.resize(blocks);
  }

  /** Finds where blocks are. @returns How many of them lie together. */
  find(block: number, count: number): number {
    let length = this.#journal.find(block, count);
    if (this.#journal.place >= 0) return this.#found(IN_JOURNAL, this.#journal.place, length);
    if (this.#holes.mappedBlocks > 0) {
      length = this.#holes.find(block, length);
      if (this.#holes.place >= 0) return this.#found(NOWHERE, -1, length);
    }
    length = this.chunks.find(block, length);
    const { place } = this.chunks;
    return this.#found(place < 0 ? NOWHERE : IN_CHUNK, place, length);
  }

  #found(kind: number, place: number, length: number): number {
    this.kind = kind;
    this.place = place;
    return length;
  }

  /** Whether blocks read as zeroes. */
  areHoles(block: number, count: number): boolean {
    for (let at = block; at < block + count;) {
      at += this.find(at, block + count - at);
      if (this.kind !== NOWHERE) return false;
    }
    return true;
  }

  /**
   * The extent of a disk from a block on, or its first runs if it has many. What is being written at the
   * moment does not count yet.
   */
  extentAt(block: number, count: number): { blocks: number; isHole: boolean } {
    let blocks = this.find(block, count);
    const isHole = this.kind === NOWHERE;
    // Runs of the map end where its places jump, which is no end of an extent.
    for (let [runs, more] = [1, 0]; blocks < count && runs < MOST_RUNS; runs++, blocks += more) {
      more = this.find(block + blocks, count - blocks);
      if ((this.kind === NOWHERE) !== isHole) break;
    }
    return { blocks, isHole };
  }

  /** Whether blocks from one on have data, or were made holes that the store does not know yet. */
  knowsFrom(block: number): boolean {
    const maps = [this.chunks, this.#journal, this.#holes];
    return maps.some((map) => map.nextMapped(block, map.blocks) >= 0);
  }

  /** Enters blocks that were written to the journal. */
  write(block: number, count: number, unit: number): void {
    if (this.#holes.mappedBlocks > 0) this.#holes.remove(block, count);
    this.#journal.set(block, count, unit);
  }

  /** Enters that blocks were made holes, at a position of the journal in units. */
  hole(block: number, count: number, unit: number): void {
    // Only what would show otherwise is noted, so that an empty disk's mkfs costs nothing. What a
    // commit is about to take over is still in the journal's map, and so is noted too.
    for (let at = block; at < block + count;) {
      let length = this.#journal.find(at, block + count - at);
      if (this.#journal.place < 0) length = this.chunks.find(at, length);
      if (this.#journal.place >= 0 || this.chunks.place >= 0) this.#holes.set(at, length, unit);
      at += length;
    }
    this.#journal.remove(block, count);
  }

  /** Enters a closed batch. */
  enter(batch: Batch): void {
    const first = batch.dataPosition / JOURNAL_UNIT;
    for (let nth = 0; nth < batch.extents; nth++) {
      const at = batch.extentNths[nth];
      const [block, count] = [batch.extentBlocks[nth], batch.extentCounts[nth]];
      if (at >= 0) this.write(block, count, first + at * this.#units);
      else this.hole(block, count, batch.position / JOURNAL_UNIT);
    }
  }

  /** Takes over an entry of a commit of all before a position, in units; of none if it is negative. */
  takeOver(extents: SortedRuns, nth: number, unit: number): void {
    const block = extents.blocks[nth];
    // The disk may have become smaller since the commit was begun.
    const count = Math.min(extents.counts[nth], this.blocks - block);
    if (count <= 0) return;
    const place = extents.places[nth];
    if (place === HOLE) this.chunks.remove(block, count);
    else this.chunks.set(block, count, place);
    if (unit < 0) return;
    this.#journal.removeUpTo(block, count, unit - 1);
    if (this.#holes.mappedBlocks > 0) this.#holes.removeUpTo(block, count, unit - 1);
  }
}
