/**
 * Where a journal ends and continues.
 *
 * @module
 */

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
