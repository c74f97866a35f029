/**
 * Where a journal ends and continues. Recovery and the drain both read journals, and must take the same
 * batches: the rules are here.
 *
 * @module
 */

import type { BatchHeader, SegmentHeader } from "../format/journal.ts";

/** Where the journal continues. */
export interface JournalEnd {
  /** The position after the last batch. */
  readonly position: number;
  /** The sequence of the last batch. */
  readonly sequence: number;
  /** The sum of its header. */
  readonly chain: number;
  /** Bytes of data in all batches so far. */
  readonly written: number;
}

/** Where a journal ends that has been read. */
export interface ScannedEnd extends JournalEnd {
  /**
   * Where the next batch may be written: the start of a segment in which nothing is. Behind the end
   * lies what a crash has torn. New data in its place could make a torn batch whole that was given
   * up: one of which only blocks were missing that happen to be written again.
   */
  readonly next: number;
}

/** Whether a segment begins with the batch after the last one, by its header. */
export function isNextSegment(
  header: Pick<SegmentHeader, "sequence" | "chain">,
  sequence: number,
  chain: number,
): boolean {
  return header.sequence === sequence + 1 && header.chain === chain;
}

/**
 * Whether a batch is the one after the last.
 *
 * @param epoch The highest so far, of the segments' headers too. A header of a later attachment says
 *   that what an earlier one has left behind it was given up.
 */
export function isNextBatch(
  batch: Pick<BatchHeader, "sequence" | "chain" | "epoch">,
  sequence: number,
  chain: number,
  epoch: number,
): boolean {
  return batch.sequence === sequence + 1 && batch.chain === chain && batch.epoch >= epoch;
}
