/**
 * The journal's files. The journal is one endless row of bytes; a *position* is a byte in it. It is
 * cut into segments of equal size: segment n has the positions from n × size on. A file holds one
 * segment, and holds a later one once the journal does not need it any more.
 *
 * A segment begins with a header:
 *
 * ```
 *   0  record   magic "UBLKJRNL", 4096 bytes
 *  32  journal  16 bytes: the journal's UUID
 *  48  segment  u64: n
 *  56  epoch    u64: of the attachment that wrote it
 *  64  sequence u64: of the first batch in it
 *  72  chain    u32: the sum of the batch's header before that
 *  76  block    u32: bytes of the volume's block
 *  80  size     u64: bytes of a segment
 *  88  zeroes
 * ```
 *
 * Batches follow. A batch is what was written at once; it counts whole or not at all. Its header is
 * filled up to a multiple of 4096 bytes, its data follows and is filled up likewise.
 *
 * ```
 *   0  magic    u32 "UBJB"
 *   4  sum      u32: CRC-32 of the header up to its padding, with this field as 0
 *   8  header   u32: its bytes without padding
 *  12  data     u32: bytes of data
 *  16  epoch    u64
 *  24  sequence u64: one more than that of the batch before
 *  32  chain    u32: the sum of the batch's header before; stale bytes do not continue the chain
 *  36  extents  u32: their number
 *  40  synced   u64: sequence of the last batch that was durable when this one was written
 *  48  written  u64: bytes of data in all batches up to this one
 *  56  count    u64: in a sealed batch, the first count that it was sealed with; see
 *               `volume/seal/journal.ts`, which has the rest of those. 0 in others
 *  64  per extent: 0 block u64 · 8 blocks u32 · 12 kind u32: 0 data, 1 hole
 *   …  per block of data, in the order of the extents: u32, the sum of its bytes
 * ```
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";
import {
  beginRecord,
  Fields,
  FormatError,
  openRecord,
  type RecordKind,
  sealRecord,
  sumOfRecord,
} from "./record.ts";
import {
  BATCH_HEADER_BYTES,
  batchHeaderBytes,
  EXTENT_BYTES,
  SEGMENT_HEADER_BYTES,
  SUM_BYTES,
  wholePages,
} from "./journal_layout.ts";
import { sumOf } from "./sum.ts";

const KIND: RecordKind = { magic: "UBLKJRNL", version: 1, words: "a journal's segment" };
/** "UBJB". */
export const BATCH_MAGIC = 0x424a4255;
const HEADER_TAG_BYTES = 16;
/** An extent has data. */
export const KIND_DATA = 0;
/** An extent has none: it reads as zeroes. */
export const KIND_HOLE = 1;

/** The header of a segment. */
export interface SegmentHeader {
  /** The volume's UUID. */
  readonly volume: string;
  /** The journal's UUID. */
  readonly journal: string;
  /** The segment's number. */
  readonly segment: number;
  /** The epoch of its writer. */
  readonly epoch: number;
  /** The sequence of the first batch in it. */
  readonly sequence: number;
  /** The chain that the first batch continues. */
  readonly chain: number;
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Bytes of a segment. */
  readonly size: number;
}

/** Writes a segment's header into zeroed bytes. @returns Its sum. */
export function encodeSegmentHeader(bytes: Uint8Array<ArrayBuffer>, header: SegmentHeader): number {
  assert(bytes.length === SEGMENT_HEADER_BYTES, "the header fills its room");
  const fields = beginRecord(bytes, KIND, header.volume);
  fields.setUuid(32, header.journal);
  fields.setU64(48, header.segment);
  fields.setU64(56, header.epoch);
  fields.setU64(64, header.sequence);
  fields.setU32(72, header.chain);
  fields.setU32(76, header.blockSize);
  fields.setU64(80, header.size);
  return sealRecord(fields);
}

/** Reads a segment's header, and tells its sum. @throws {FormatError} */
export function decodeSegmentHeader(
  bytes: Uint8Array<ArrayBuffer>,
  volume?: string,
): SegmentHeader & { sum: number } {
  const fields = openRecord(bytes, KIND, volume);
  return {
    volume: fields.uuid(16),
    journal: fields.uuid(32),
    segment: fields.u64(48),
    epoch: fields.u64(56),
    sequence: fields.u64(64),
    chain: fields.u32(72),
    blockSize: fields.u32(76),
    size: fields.u64(80),
    sum: sumOfRecord(fields),
  };
}

/** The fields of a batch's header before its extents. */
export interface BatchHeader {
  /** Bytes of the header without padding. */
  readonly headerBytes: number;
  /** Bytes of data. */
  readonly dataBytes: number;
  /** The epoch of its writer. */
  readonly epoch: number;
  /** Its sequence. */
  readonly sequence: number;
  /** The sum of the batch's header before. */
  readonly chain: number;
  /** The number of extents. */
  readonly extents: number;
  /** The last batch that was durable when this one was written. */
  readonly synced: number;
  /** Bytes of data in all batches up to this one. */
  readonly written: number;
  /** The first count that it was sealed with; 0 if it was not. */
  readonly count: number;
  /** The header's sum. */
  readonly sum: number;
}

/**
 * Reads the fixed part of a batch's header, and checks that its numbers agree with one another. The
 * sum is not checked yet.
 *
 * @returns Undefined if no batch begins here.
 */
export function peekBatch(
  bytes: Uint8Array<ArrayBuffer>,
  blockSize: number,
): BatchHeader | undefined {
  if (bytes.length < BATCH_HEADER_BYTES) return undefined;
  const fields = new Fields(bytes);
  if (fields.u32(0) !== BATCH_MAGIC) return undefined;
  try {
    const header = {
      sum: fields.u32(4),
      headerBytes: fields.u32(8),
      dataBytes: fields.u32(12),
      epoch: fields.u64(16),
      sequence: fields.u64(24),
      chain: fields.u32(32),
      extents: fields.u32(36),
      synced: fields.u64(40),
      written: fields.u64(48),
      count: fields.u64(56),
    };
    const blocks = header.dataBytes / blockSize;
    const fits = Number.isInteger(blocks) && header.extents > 0 &&
      header.headerBytes === batchHeaderBytes(header.extents, blocks, header.count > 0);
    return fits ? header : undefined;
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}

/** Bytes of a whole batch in the journal. */
export function batchBytes(header: Pick<BatchHeader, "headerBytes" | "dataBytes">): number {
  return wholePages(header.headerBytes) + wholePages(header.dataBytes);
}

/** An extent of a batch. */
export interface BatchExtent {
  /** The first block. */
  readonly block: number;
  /** The number of blocks. */
  readonly count: number;
  /** It has no data: it reads as zeroes. */
  readonly hole: boolean;
  /** Where its data begins, in bytes from the start of the batch. */
  readonly at: number;
}

/**
 * Whether a whole batch is what its header and its sums say. Of a sealed one, whether it is what was
 * written: whoever opens it finds out by whom.
 */
export function isSound(
  bytes: Uint8Array<ArrayBuffer>,
  header: BatchHeader,
  blockSize: number,
): boolean {
  if (bytes.length < batchBytes(header)) return false;
  const head = bytes.slice(0, header.headerBytes);
  const fields = new Fields(head);
  fields.setU32(4, 0);
  if (sumOf(head) !== header.sum) return false;
  const blocks = header.dataBytes / blockSize;
  if (header.count === 0 && blocksIn(fields, header.extents) !== blocks) return false;
  const sums = sumsOf(header, blockSize);
  let at = wholePages(header.headerBytes);
  for (let nth = 0; nth < blocks; nth++, at += blockSize) {
    if (sumOf(bytes.subarray(at, at + blockSize)) !== fields.u32(sums + nth * SUM_BYTES)) {
      return false;
    }
  }
  return true;
}

/** Where in a batch the sums of its blocks begin. */
export function sumsOf({ headerBytes, dataBytes, count }: BatchHeader, blockSize: number): number {
  return headerBytes - dataBytes / blockSize * SUM_BYTES - (count === 0 ? 0 : HEADER_TAG_BYTES);
}

/** Blocks of data in the extents of a batch that is not sealed; -1 if some are not possible. */
function blocksIn(fields: Fields, extents: number): number {
  let blocks = 0;
  for (let nth = 0, at = BATCH_HEADER_BYTES; nth < extents; nth++, at += EXTENT_BYTES) {
    const kind = fields.u32(at + 12);
    const count = fields.u32(at + 8);
    if (count === 0 || kind !== KIND_DATA && kind !== KIND_HOLE) return -1;
    if (kind === KIND_DATA) blocks += count;
  }
  return blocks;
}

/**
 * The extents of a sound batch, in their order: later ones win.
 *
 * @param table The extents, as they are when a sealed batch was opened.
 * @param dataAt Where the batch's data begins.
 */
export function* extentsIn(
  table: Uint8Array<ArrayBuffer>,
  extents: number,
  dataAt: number,
  blockSize: number,
): Generator<BatchExtent> {
  const fields = new Fields(table);
  let data = dataAt;
  for (let nth = 0, at = 0; nth < extents; nth++, at += EXTENT_BYTES) {
    const hole = fields.u32(at + 12) === KIND_HOLE;
    const count = fields.u32(at + 8);
    yield { block: fields.u64(at), count, hole, at: data };
    if (!hole) data += count * blockSize;
  }
}
