/**
 * The sizes of an engine.
 *
 * @module
 */

/** Sizes that an engine is built with. */
export interface EngineSizes {
  /** Most bytes of data in a batch. */
  readonly batchData: number;
  /** Number of batches: their memory is also the newest data's cache. */
  readonly batches: number;
  /** Most chunks that are open for reading. */
  readonly openChunks: number;
  /**
   * Most pieces of reads on their way.
   *
   * @default 256
   */
  readonly pieces?: number;
  /**
   * Entries of a commit that are taken over at a time.
   *
   * @default 2000
   */
  readonly takenAtOnce?: number;
}

/** The sizes for real disks. */
export const ENGINE_SIZES: EngineSizes = { batchData: 1 << 20, batches: 16, openChunks: 256 };
