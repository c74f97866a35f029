/**
 * How much room the parts of a journal take. It is apart from `journal.ts`, because the commands know
 * the bounds of a journal's size without reading one.
 *
 * @module
 */

/** Bytes of a segment's header. */
export const SEGMENT_HEADER_BYTES = 4096;
/** Places in the journal are counted in units of this many bytes: the smallest block. */
export const JOURNAL_UNIT = 512;
/**
 * Headers and data of batches are filled up to multiples of this many bytes. Writes past the page
 * cache must be whole sectors, which may have 4096 bytes; and on ext4 such writes only go side by side
 * if they are whole blocks of the filesystem. With multiples of 512, batches waited for one another.
 */
const PAGE_BYTES = 4096;
/** Bytes of a batch's header before its extents. */
export const BATCH_HEADER_BYTES = 64;
/** Bytes of an extent in a batch's header. */
export const EXTENT_BYTES = 16;
/** Bytes of the sum of a block. */
export const SUM_BYTES = 4;
/** Where the extents of a sealed batch begin: behind the salt of the opening that wrote it. */
export const SEALED_EXTENTS_AT = 80;
/** Bytes of a tag of a sealed batch, of each block and of the header. */
const TAG_BYTES = 16;
/** Rounds up to whole pages of the journal. */
export function wholePages(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
}

/** Bytes of a batch's header without padding. */
export function batchHeaderBytes(extents: number, blocks: number, isSealed: boolean): number {
  const bytes = extents * EXTENT_BYTES + blocks * SUM_BYTES;
  if (!isSealed) return BATCH_HEADER_BYTES + bytes;
  return SEALED_EXTENTS_AT + bytes + (blocks + 1) * TAG_BYTES;
}
