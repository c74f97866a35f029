/**
 * What the parts of a check find and count.
 *
 * @module
 */

/** Something that is not as it should be. */
export interface Finding {
  /** The name of the object, or the path of the file. */
  readonly object: string;
  /** Where in it, in bytes; undefined if it is about all of it. */
  readonly offset?: number;
  /** What is wrong, in words. */
  readonly words: string;
}

/** What is counted, by all parts of a check. */
export interface Counts {
  /** What is wrong. */
  readonly findings: Finding[];
  /** Objects that were read. */
  objects: number;
  /** Bytes that were read. */
  bytes: number;
  /** Blocks that were verified. */
  blocks: number;
}
