/**
 * The work of a volume's cache since the volume was opened. Plain numbers, for whoever shows them.
 *
 * @module
 */

/** Counts. */
export interface CacheCounters {
  /** Reads of parts of lines that were in memory. */
  memoryHits: number;
  /** Reads of parts of lines that were in the cache's file. */
  diskHits: number;
  /** Reads that waited for the store. */
  misses: number;
  /** Lines that were fetched before anybody asked for them. */
  readAhead: number;
  /** Calls to the store, without repetitions. */
  fetches: number;
  /** Bytes that came from the store. */
  fetchedBytes: number;
  /** Lines of the cache's file that were not what they should be. They are fetched again. */
  bad: number;
}

/** Counts of nothing. */
export function noCacheCounters(): CacheCounters {
  return {
    ...{ memoryHits: 0, diskHits: 0, misses: 0, readAhead: 0, fetches: 0, fetchedBytes: 0, bad: 0 },
  };
}
