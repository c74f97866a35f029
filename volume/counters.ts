/**
 * What a volume counts. This table is all of it: `ublk-volume stats`, `ublk stats`, `ublk top`,
 * metrics and {@linkcode Volume.stats} show what is here. To count something else, add a row, and
 * one `add` or `set` where it happens.
 *
 * The values are in memory that several threads see. Each has one writer: the engine's thread, or the
 * drain's.
 *
 * @module
 */

import { type BackendCounters, type CounterRow, readCounters } from "../disk/counters.ts";

/** All counters, from the time on when the volume was opened. */
const ROWS = [
  // The engine's.
  {
    ...{ name: "journalBytes", label: "journal", kind: "gauge", unit: "bytes", brief: "journal" },
    help: "The part of the journal that the store does not have yet.",
  },
  {
    ...{ name: "journalSizeBytes", label: "journal size", kind: "gauge", unit: "bytes" },
    help: "The size of the journal.",
  },
  {
    ...{ name: "lagBytes", label: "lag", kind: "gauge", unit: "bytes", brief: "lag" },
    help: "Written data that the store does not have yet.",
  },
  {
    ...{ name: "lagSeconds", label: "lag time", kind: "age", brief: "for" },
    help: "The age of the oldest write that the store does not have yet.",
  },
  {
    ...{ name: "writtenBytes", label: "written", kind: "counter", unit: "bytes" },
    help: "Data that was written to the volume.",
  },
  {
    ...{ name: "trims", label: "trims", kind: "counter" },
    help: "Requests that discarded or zeroed a range.",
  },
  {
    ...{ name: "trimmedBytes", label: "trimmed", kind: "counter", unit: "bytes" },
    help: "Bytes of those ranges.",
  },
  {
    ...{ name: "journalReadBytes", label: "read from journal", kind: "counter", unit: "bytes" },
    help: "Data that was read from the journal, or from batches in memory.",
  },
  {
    ...{ name: "chunkReadBytes", label: "read from chunks", kind: "counter", unit: "bytes" },
    help: "Data that was read from chunks.",
  },
  {
    ...{ name: "holeReadBytes", label: "read from holes", kind: "counter", unit: "bytes" },
    help: "Zeroes that were read where nothing is.",
  },
  {
    ...{ name: "damagedReads", label: "damaged reads", kind: "counter" },
    help: "Reads of the journal or of chunks that failed, or whose data was damaged.",
  },
  {
    ...{ name: "openChunks", label: "open chunks", kind: "gauge" },
    help: "Chunks that are open for reading.",
  },
  {
    ...{ name: "journalWrittenBytes", label: "to the journal", kind: "counter", unit: "bytes" },
    help: "Bytes appended to the journal, with headers and padding.",
  },
  // The drain's.
  {
    ...{ name: "chunkWrittenBytes", label: "to the store", kind: "counter", unit: "bytes" },
    help: "Bytes of chunks put into the store.",
  },
  {
    ...{ name: "mapWrittenBytes", label: "of the map", kind: "counter", unit: "bytes" },
    help: "Bytes of the block map put into the store.",
  },
  {
    ...{ name: "manifestWrittenBytes", label: "of manifests", kind: "counter", unit: "bytes" },
    help: "Bytes of manifests and heads put into the store.",
  },
  {
    ...{ name: "commits", label: "commits", kind: "counter" },
    help: "Commits to the store.",
  },
  {
    ...{ name: "storeFailures", label: "store failures", kind: "counter" },
    help: "Commits that the store did not take, and that were tried again.",
  },
  // Write amplification: bytes written for each byte of data.
  {
    ...{ name: "journalAmplification", label: "journal amplification", kind: "ratio" },
    ...{ of: ["journalWrittenBytes"], per: ["writtenBytes"], brief: "journal ×" },
    help: "Bytes appended to the journal for each byte of data written.",
  },
  {
    ...{ name: "storeAmplification", label: "store amplification", kind: "ratio" },
    of: ["chunkWrittenBytes", "mapWrittenBytes", "manifestWrittenBytes"],
    ...{ per: ["writtenBytes"], brief: "store ×" },
    help: "Bytes put into the store for each byte of data written.",
  },
] as const satisfies readonly CounterRow[];

/** The name of a counter. */
export type VolumeCounter = typeof ROWS[number]["name"];

/** The table, for everybody who shows it. */
export const VOLUME_COUNTERS: readonly CounterRow[] = ROWS;

/** The place of each counter. */
export const AT: Readonly<Record<VolumeCounter, number>> = Object.fromEntries(
  ROWS.map(({ name }, nth) => [name, nth]),
) as Record<VolumeCounter, number>;

/** The counters of an open volume. Its methods allocate nothing. */
export class VolumeCounters implements BackendCounters {
  readonly name = "volume";
  readonly rows = VOLUME_COUNTERS;
  readonly memory: SharedArrayBuffer;
  readonly #values: Float64Array<SharedArrayBuffer>;

  /** New counters, or another thread's. */
  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(ROWS.length * 8)) {
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

  /** Reads all of them. */
  read(): Readonly<Record<VolumeCounter, number | null>> {
    return readCounters(this).values as Record<VolumeCounter, number | null>;
  }
}
