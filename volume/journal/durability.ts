/**
 * What of the journal is durable, and which batches are written so that they are.
 *
 * There are two ways. A sync covers all batches that were in the journal when it began. A batch that
 * is *written durably* (`RWF_DSYNC`) is durable once it is in the journal, by itself: a batch before
 * it that was written plainly is not, and a reader stops at that gap. So it counts once all before it
 * is durable, or in the store.
 *
 * A reader also needs the header of its segment, which is written with the segment's first batch. If
 * that batch was plain, its header becomes durable by a sync alone: the store may have the batch, but
 * it has no header. Durable batches behind such a header were once counted, and after a power cut
 * nothing found them.
 *
 * On a disk with FUA, or without a cache that must be flushed, a durable write costs about as much as
 * a plain one, and saves the sync, which the kernel hands to another thread. It is worth that where a
 * sync would follow at once: for a batch with a FUA write, and for each batch of a client that
 * flushes after every one. Other disks flush their cache for each durable write, and writes that no
 * FLUSH waits for would wait for that: there, all batches are plain.
 *
 * @module
 */

import type { Batch } from "./batch.ts";
import type { ScannedEnd } from "./end.ts";

/** Larger batches are quicker with a sync: disks write with FUA at a fraction of their speed. */
const MOST_BYTES = 256 * 1024;

/** Keeps account of what is durable. */
export class Durability {
  /** All before this position is durable in the journal. */
  position: number;
  /** The sequence of the last batch that is durable. */
  sequence: number;
  readonly #isCheap: boolean;
  /** The end of the last batch that does not count by itself, and of the last batch. */
  #plain: number;
  #completed: number;
  #completedSequence: number;
  /** The segment of the last batch has a durable header, or the end of the batch that has brought it. */
  #hasHeader = false;
  #headerEnd = Infinity;
  /** Batches without FUA since the last FLUSH, and from the one before to that. */
  #sinceFlush = 0;
  #beforeFlush = Infinity;

  /** @param isCheap A durable write costs about as much as a plain one. */
  constructor(end: ScannedEnd, isCheap: boolean) {
    this.position = this.#plain = this.#completed = end.position;
    this.sequence = this.#completedSequence = end.sequence;
    this.#isCheap = isCheap;
  }

  /** A FLUSH has arrived. */
  flush(): void {
    this.#beforeFlush = this.#sinceFlush;
    this.#sinceFlush = 0;
  }

  /** A batch was closed. @returns Whether to write it durably. */
  closed(batch: Batch, hasFua: boolean): boolean {
    if (!hasFua) this.#sinceFlush++;
    const isAwaited = hasFua || this.#sinceFlush <= 1 && this.#beforeFlush <= 1;
    return this.#isCheap && isAwaited && batch.bytes <= MOST_BYTES;
  }

  /**
   * A batch is in the journal, as are all before it.
   *
   * @param stored The store has all before this position.
   */
  completed(batch: Batch, stored: number): void {
    this.#completed = batch.end;
    this.#completedSequence = batch.sequence;
    if (batch.beginsSegment) {
      this.#hasHeader = batch.isDurable;
      this.#headerEnd = batch.end;
    }
    if (!batch.isDurable || !this.#hasHeader) this.#plain = batch.end;
    this.#count(stored);
  }

  /** A sync has made durable what was in the journal when it began. */
  synced(position: number, sequence: number, stored: number): void {
    if (position >= this.#headerEnd) this.#hasHeader = true;
    this.stored(position, sequence, stored);
  }

  /** The store has everything before a position. */
  stored(position: number, sequence: number, stored: number): void {
    if (position > this.position) {
      this.position = position;
      this.sequence = sequence;
    }
    this.#count(stored);
  }

  /** Counts the durable batches behind the last plain one, if that is durable by now. */
  #count(stored: number): void {
    if (this.#plain > Math.max(this.position, stored)) return;
    this.position = this.#completed;
    this.sequence = this.#completedSequence;
  }
}
