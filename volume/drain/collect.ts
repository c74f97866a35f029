/**
 * The contents of a commit: the batches of the journal up to a point, of which the newest data of
 * each block counts. What is overwritten within the commit is dropped. Across a commit's edge
 * nothing is dropped: the commit before must be whole by itself.
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";
import { JOURNAL_UNIT } from "../format/journal_layout.ts";
import type { ScannedBatch } from "../journal/scan.ts";
import type { JournalOpener } from "../seal/journal.ts";
import { BlockMap } from "../map/block_map.ts";

/** A run of blocks of a commit. */
export interface CollectedRun {
  /** The first block. */
  readonly block: number;
  /** The number of blocks. */
  readonly count: number;
  /** Which of the collected blocks the first one is, or -1 for a hole. */
  readonly nth: number;
}

/** The data of a commit, as it is collected. */
export class Collection {
  /** Blocks that were collected, of which later ones may have replaced some. */
  blocks = 0;
  /** Batches that were collected. */
  batches = 0;
  readonly #data: Uint8Array<ArrayBuffer>;
  readonly #blockSize: number;
  readonly #fresh: BlockMap;
  readonly #holes: BlockMap;

  /**
   * For a disk of so many blocks.
   *
   * @param data Room for the data of all batches.
   */
  constructor(data: Uint8Array<ArrayBuffer>, blocks: number, blockSize: number) {
    assert(blockSize % JOURNAL_UNIT === 0, "a block is whole units");
    this.#data = data;
    this.#blockSize = blockSize;
    this.#fresh = new BlockMap({ blocks, step: 1 });
    this.#holes = new BlockMap({ blocks, step: 0 });
  }

  /** The pieces of which the commit consists, at most. */
  get pieces(): number {
    return this.#fresh.extents + this.#holes.extents;
  }

  /** Whether there is room for a batch's data. */
  hasRoom(dataBytes: number): boolean {
    return this.blocks * this.#blockSize + dataBytes <= this.#data.length;
  }

  /** Adds a batch, opened. @throws {UblkError} `VOLUME_DAMAGED` */
  add({ bytes, header }: ScannedBatch, opener: JournalOpener): void {
    assert(this.hasRoom(header.dataBytes), "there is room for the batch");
    const opened = opener.open(bytes, header);
    let first = 0;
    for (const { block, count, hole, at } of opened.extents()) {
      // A batch may be older than the disk's present size.
      const kept = Math.min(count, this.#fresh.blocks - block);
      if (hole) {
        if (kept <= 0) continue;
        this.#fresh.remove(block, kept);
        this.#holes.set(block, kept, 0);
        continue;
      }
      const length = count * this.#blockSize;
      const room = this.blocks * this.#blockSize;
      const to = this.#data.subarray(room, room + length);
      opener.copy(header, opened, bytes.subarray(at, at + length), to, first);
      first += count;
      if (kept > 0) {
        this.#fresh.set(block, kept, this.blocks);
        this.#holes.remove(block, kept);
      }
      this.blocks += count;
    }
    this.batches++;
  }

  /** The blocks that count, in their order. */
  *runs(): Generator<CollectedRun> {
    const fresh = this.#fresh.cursor();
    const holes = this.#holes.cursor();
    let hasFresh = fresh.next();
    let hasHole = holes.next();
    while (hasFresh || hasHole) {
      if (hasFresh && (!hasHole || fresh.block < holes.block)) {
        yield { block: fresh.block, count: fresh.count, nth: fresh.place };
        hasFresh = fresh.next();
      } else {
        yield { block: holes.block, count: holes.count, nth: -1 };
        hasHole = holes.next();
      }
    }
  }

  /** Copies collected blocks. */
  copy(nth: number, count: number, target: Uint8Array<ArrayBuffer>): void {
    const at = nth * this.#blockSize;
    target.set(this.#data.subarray(at, at + count * this.#blockSize));
  }
}
