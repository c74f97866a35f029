/**
 * The findings and counts of the parts of a check.
 *
 * @module
 */

/** Something that is not as it should be. */
export interface Finding {
  /** The name of the object, or the path of the file. */
  readonly object: string;
  /** Where in it, in bytes; undefined if it is about all of it. */
  readonly offset?: number;
  /** The fault, in words. */
  readonly words: string;
}

/** The counts of all parts of a check. */
export interface Counts {
  /** Every fault. */
  readonly findings: Finding[];
  /** Objects that were read. */
  objects: number;
  /** Bytes that were read. */
  bytes: number;
  /** Blocks that were verified. */
  blocks: number;
}
