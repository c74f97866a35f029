/**
 * The sizes of an engine.
 *
 * @module
 */

/** The longest that a request waits for the store, in microseconds. */
const MOST_WAIT_US = 25_000_000;
/** The part of a request's deadline that it waits. The rest is for looking, and for the answer. */
const WAITING = 0.8;
/** Waits are looked at so many times until they end. */
const LOOKS = 16;

/**
 * How long a request may wait for the store, in microseconds: 25 s, or less if its deadline is near.
 *
 * @param deadlineMs The deadline in milliseconds; undefined for none.
 */
export function waitUsOf(deadlineMs: number | undefined): number {
  return Math.min(MOST_WAIT_US, WAITING * 1000 * (deadlineMs ?? Infinity));
}

/** Time until the next look at those who wait, in microseconds: `most`, or less for a short wait. */
export function lookUsOf(waitUs: number, most: number): number {
  return Math.min(most, waitUs / LOOKS);
}

/** Sizes of a cache of chunks. */
export interface CacheSizes {
  /** Bytes of a line: what is fetched, kept and given up as a whole. A multiple of a block. */
  readonly line: number;
  /** Lines in memory. */
  readonly lines: number;
  /** Most lines that are read ahead at once. */
  readonly ahead: number;
  /** Most lines that are written to the cache's file at once, while they stay in memory. */
  readonly writes: number;
  /** How long a reader waits for the store, in microseconds. */
  readonly waitUs: number;
}

/** The sizes for real disks: 64 MiB of lines, of which 8 MiB are read ahead. */
export const CACHE_SIZES: CacheSizes = {
  line: 64 << 10,
  lines: 1024,
  ahead: 128,
  writes: 256,
  waitUs: MOST_WAIT_US,
};

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
   * Sizes of the cache of chunks, if the volume has one.
   *
   * @default Those for real disks
   */
  readonly cache?: CacheSizes;
  /**
   * Entries of a commit that are taken over at a time.
   *
   * @default 2000
   */
  readonly takenAtOnce?: number;
}

/** The sizes for real disks. */
export const ENGINE_SIZES: EngineSizes = { batchData: 1 << 20, batches: 16, openChunks: 256 };
