/**
 * The memory of a batch of the journal.
 *
 * @module
 */

import { batchHeaderBytes, SEGMENT_HEADER_BYTES, wholePages } from "../format/journal_layout.ts";

/** Most extents of a batch. */
export const MAX_EXTENTS = 1024;

/** Bytes of memory for batches with so many bytes of data. */
export function batchMemoryBytes(dataBytes: number, blockSize: number): number {
  return dataStart(dataBytes, blockSize) + wholePages(dataBytes);
}

/** Where in the memory the data begins: behind room for the headers. */
export function dataStart(dataBytes: number, blockSize: number): number {
  // Sealed or not: that is decided by the volume, and costs no more than this.
  const header = batchHeaderBytes(MAX_EXTENTS, dataBytes / blockSize, true);
  return SEGMENT_HEADER_BYTES + wholePages(header);
}
