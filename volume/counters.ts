/**
 * The counters of a volume. This table is all of it: `ublk-volume stats`, `ublk stats`, `ublk top`,
 * metrics and {@linkcode Volume.stats} show what is here. To count something else, add a name, a row,
 * and one `add` or `set` where it happens.
 *
 * The values are in memory that several threads see. Each has one writer: the engine's thread, or the
 * drain's.
 *
 * @module
 */

import { type BackendCounters, type CounterRow, readCounters } from "../disk/counters.ts";

/** The name of a counter of a volume. */
export type VolumeCounter =
  // Of the engine:
  | "journalBytes"
  | "journalSizeBytes"
  | "lagBytes"
  | "lagSeconds"
  | "writtenBytes"
  | "trims"
  | "trimmedBytes"
  | "journalReadBytes"
  | "chunkReadBytes"
  | "holeReadBytes"
  | "damagedReads"
  | "openChunks"
  | "journalWrittenBytes"
  | "cacheMemoryHits"
  | "cacheDiskHits"
  | "cacheMisses"
  | "cacheReadAhead"
  | "cacheFetches"
  | "cacheFetchedBytes"
  | "cacheBad"
  // Of the drain:
  | "commits"
  | "storeFailures"
  | "chunkWrittenBytes"
  | "chunkPlainBytes"
  | "movedBytes"
  | "mapWrittenBytes"
  | "manifestWrittenBytes"
  | "collections"
  | "freedBytes"
  // Of all of it:
  | "journalAmplification"
  | "storeAmplification"
  | "compression"
  | "cacheHits";

const TABLE: Readonly<Record<VolumeCounter, Omit<CounterRow, "name">>> = {
  journalBytes: {
    ...{ label: "journal", kind: "gauge", unit: "bytes", brief: "journal" },
    help: "The part of the journal that the store does not have yet.",
  },
  journalSizeBytes: {
    ...{ label: "journal size", kind: "gauge", unit: "bytes" },
    help: "The size of the journal.",
  },
  lagBytes: {
    ...{ label: "lag", kind: "gauge", unit: "bytes", brief: "lag" },
    help: "Written data that the store does not have yet.",
  },
  lagSeconds: {
    ...{ label: "lag time", kind: "age", brief: "for" },
    help: "The age of the oldest write that the store does not have yet.",
  },
  writtenBytes: {
    ...{ label: "written", kind: "counter", unit: "bytes" },
    help: "Data that was written to the volume.",
  },
  trims: {
    ...{ label: "trims", kind: "counter" },
    help: "Requests that discarded or zeroed a range.",
  },
  trimmedBytes: {
    ...{ label: "trimmed", kind: "counter", unit: "bytes" },
    help: "Bytes of those ranges.",
  },
  journalReadBytes: {
    ...{ label: "read from journal", kind: "counter", unit: "bytes" },
    help: "Data that was read from the journal, or from batches in memory.",
  },
  chunkReadBytes: {
    ...{ label: "read from chunks", kind: "counter", unit: "bytes" },
    help: "Data that was read from chunks.",
  },
  holeReadBytes: {
    ...{ label: "read from holes", kind: "counter", unit: "bytes" },
    help: "Zeroes that were read where nothing is.",
  },
  damagedReads: {
    ...{ label: "damaged reads", kind: "counter" },
    help: "Reads of the journal or of chunks that failed, or whose data was damaged.",
  },
  openChunks: {
    ...{ label: "open chunks", kind: "gauge" },
    help: "Chunks that are open for reading.",
  },
  journalWrittenBytes: {
    ...{ label: "put into journal", kind: "counter", unit: "bytes" },
    help: "Bytes appended to the journal, with headers and padding.",
  },
  cacheMemoryHits: {
    ...{ label: "cache hits in memory", kind: "counter" },
    help: "Reads of parts of lines that were in memory.",
  },
  cacheDiskHits: {
    ...{ label: "cache hits on disk", kind: "counter" },
    help: "Reads of parts of lines that were in the cache's file.",
  },
  cacheMisses: {
    ...{ label: "cache misses", kind: "counter" },
    help: "Reads that waited for the store.",
  },
  cacheReadAhead: {
    ...{ label: "read ahead", kind: "counter" },
    help: "Lines that were fetched before anybody asked for them.",
  },
  cacheFetches: {
    ...{ label: "fetches", kind: "counter" },
    help: "Calls to the store for lines, without repetitions.",
  },
  cacheFetchedBytes: {
    ...{ label: "fetched", kind: "counter", unit: "bytes" },
    help: "Bytes that came from the store for the cache.",
  },
  cacheBad: {
    ...{ label: "bad cache lines", kind: "counter" },
    help: "Lines of the cache's file that were damaged, and are fetched again.",
  },
  commits: {
    ...{ label: "commits", kind: "counter" },
    help: "Commits to the store.",
  },
  storeFailures: {
    ...{ label: "store failures", kind: "counter" },
    help: "Attempts at a commit that the store failed, and that were made again.",
  },
  chunkWrittenBytes: {
    ...{ label: "put into chunks", kind: "counter", unit: "bytes" },
    help: "Bytes of chunks put into the store.",
  },
  chunkPlainBytes: {
    ...{ label: "plain chunks", kind: "counter", unit: "bytes" },
    help: "Bytes of these chunks before they were compressed.",
  },
  movedBytes: {
    ...{ label: "moved", kind: "counter", unit: "bytes" },
    help: "Data that was moved from sparse chunks to new ones, so that they could go.",
  },
  mapWrittenBytes: {
    ...{ label: "put into map", kind: "counter", unit: "bytes" },
    help: "Bytes of the block map put into the store.",
  },
  manifestWrittenBytes: {
    ...{ label: "put into manifests", kind: "counter", unit: "bytes" },
    help: "Bytes of manifests and heads put into the store.",
  },
  collections: {
    ...{ label: "collections", kind: "counter" },
    help: "Collections of garbage in the store.",
  },
  freedBytes: {
    ...{ label: "freed", kind: "counter", unit: "bytes" },
    help: "Bytes of objects that were deleted because nothing needs them any more.",
  },
  journalAmplification: {
    ...{ label: "journal amplification", kind: "ratio", brief: "journal ×" },
    ...{ of: ["journalWrittenBytes"], per: ["writtenBytes"] },
    help: "Bytes appended to the journal for each byte of data written.",
  },
  storeAmplification: {
    ...{ label: "store amplification", kind: "ratio", brief: "store ×" },
    of: ["chunkWrittenBytes", "mapWrittenBytes", "manifestWrittenBytes"],
    per: ["writtenBytes"],
    help: "Bytes put into the store for each byte of data written.",
  },
  compression: {
    ...{ label: "compression", kind: "ratio", of: ["chunkPlainBytes"], per: ["chunkWrittenBytes"] },
    help: "Bytes of chunks before they were compressed for each byte put into the store.",
  },
  cacheHits: {
    ...{ label: "cache hits", kind: "ratio", brief: "hits" },
    of: ["cacheMemoryHits", "cacheDiskHits"],
    per: ["cacheMemoryHits", "cacheDiskHits", "cacheMisses"],
    help: "The part of the reads of lines that did not wait for the store.",
  },
};

const NAMES = Object.keys(TABLE) as VolumeCounter[];

/** The table as rows. */
export const VOLUME_COUNTERS: readonly CounterRow[] = NAMES.map((name) => ({
  ...{ name, ...TABLE[name] },
}));

/** The place of each counter. */
export const AT: Readonly<Record<VolumeCounter, number>> = Object.fromEntries(
  NAMES.map((name, nth) => [name, nth]),
) as Record<VolumeCounter, number>;

/** The counters of an open volume. Its methods allocate nothing, but for {@linkcode read}. */
export class VolumeCounters implements BackendCounters {
  readonly name = "volume";
  readonly rows = VOLUME_COUNTERS;
  readonly memory: SharedArrayBuffer;
  readonly #values: Float64Array<SharedArrayBuffer>;

  /** New counters, or another thread's. */
  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(NAMES.length * 8)) {
    this.memory = memory;
    this.#values = new Float64Array(memory);
  }

  /** Adds to a counter: one of {@linkcode AT}. */
  add(counter: number, amount: number): void {
    this.#values[counter] += amount;
  }

  /** Sets a gauge, or the time of an age in microseconds: one of {@linkcode AT}. */
  set(counter: number, value: number): void {
    this.#values[counter] = value;
  }

  /** The value of a counter: one of {@linkcode AT}. */
  get(counter: number): number {
    return this.#values[counter];
  }

  /** Reads all of them. */
  read(): Readonly<Record<VolumeCounter, number | null>> {
    return readCounters(this).values as Record<VolumeCounter, number | null>;
  }
}
