/**
 * Chunks: immutable objects that hold data. A chunk describes itself, so that the block map can be
 * made again from chunks alone.
 *
 * ```
 *   0  record    magic "UBLKCHNK"; the sum covers everything before the data
 *  32  number    u64
 *  40  epoch     u64: of the attachment that wrote it
 *  48  first     u64: sequence of the first batch that it has data of
 *  56  last      u64: sequence of the last batch of its commit
 *  64  block     u32: bytes of a block
 *  68  frames    u32: their number
 *  72  blocks    u32: number of blocks of data
 *  76  data      u32: where the data begins: a multiple of 4096
 *  80  length    u64: length of the object
 *  88  part      u32: which of its commit's chunks it is, from 0
 *  92  parts     u32: number of chunks of its commit
 *  96  kind      u32: how it may be compressed: 0 not at all, 1 by zstd
 * 100  piece     u32: bytes of data that are compressed at a time; 0 for none
 * 104  zeroes    24 bytes
 * 128  per frame, sorted by block, without overlaps:
 *       0 block u64 · 8 blocks u32 · 12 kind u32: 0 data, 1 hole ·
 *      16 offset u32: of the data, from where the data begins · 20 bytes u32: as they are stored ·
 *      24 nth u32: the first block's place in the chunk · 28 zeroes; in the first frame of a
 *      chunk that lies there sealed: a blind, see `volume/seal/chunks.ts`
 *   …  per block of data: u32, the sum of its bytes
 *   …  zeroes up to the data
 * ```
 *
 * That is version 1, the plain form. A chunk that was compressed has version 2, see
 * `volume/pack/chunks.ts`.
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";
import {
  CHUNK_HEADER_BYTES,
  dataOffset,
  FRAME_BYTES,
  packedDataOffset,
  piecesIn,
  SUM_BYTES,
} from "./chunk_layout.ts";
import { ZSTD } from "./compression.ts";
import { HOLE, MAX_CHUNK_BLOCKS, placeOf } from "./place.ts";
import {
  beginRecord,
  Fields,
  FormatError,
  isSealedRecord,
  openRecord,
  peekRecord,
  type RecordKind,
  sealRecord,
  setVersion,
  versionOfRecord,
} from "./record.ts";
import type { Extents } from "./run.ts";
import { sumOf } from "./sum.ts";

/** The version of a chunk in its plain form. */
const PLAIN = 1;
/** The version of a chunk that was compressed. */
const PACKED = 2;
const KIND: RecordKind = { magic: "UBLKCHNK", version: PACKED, words: "a chunk" };
const PLAIN_KIND: RecordKind = { ...KIND, version: PLAIN };
const DATA = 0;
const HOLE_KIND = 1;

export { CHUNK_HEADER_BYTES, dataOffset, tableEnd } from "./chunk_layout.ts";

/** The commit that a chunk is part of. */
export interface ChunkOrigin {
  /** The volume's UUID. */
  readonly volume: string;
  /** The chunk's number. */
  readonly number: number;
  /** The epoch of its writer. */
  readonly epoch: number;
  /** The sequence of the first batch of its commit. */
  readonly first: number;
  /** The sequence of the last batch of its commit. */
  readonly last: number;
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Which of the commit's chunks it is. */
  readonly part: number;
  /** How many chunks the commit has. */
  readonly parts: number;
  /** Bytes of data that are compressed at a time. @default 0: it is not compressed */
  readonly piece?: number;
}

/** A frame: blocks that lie together, or a hole. */
export interface Frame {
  /** The first block. */
  readonly block: number;
  /** The number of blocks. */
  readonly count: number;
  /** It has no data: it reads as zeroes. */
  readonly hole: boolean;
}

/** A chunk that is being written: first all frames, then the data of each block in their order. */
export class ChunkWriter {
  /** The whole object. The data is to be put at {@linkcode dataAt}. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #fields: Fields;
  readonly #blockSize: number;
  readonly #frames: readonly Frame[];
  readonly #dataAt: number;
  readonly #blocks: number;

  /**
   * Lays out a chunk of these frames.
   *
   * @param isSealed With room for seals, see {@linkcode dataOffset}.
   */
  constructor(origin: ChunkOrigin, frames: readonly Frame[], isSealed = false) {
    const { blockSize, piece = 0 } = origin;
    const blocks = frames.reduce((sum, { hole, count }) => hole ? sum : sum + count, 0);
    assert(blocks <= MAX_CHUNK_BLOCKS, "a chunk has not so many blocks");
    const dataAt = dataOffset(frames.length, blocks, isSealed);
    this.bytes = new Uint8Array(dataAt + blocks * blockSize);
    // The sum covers what stands before the data.
    const fields = beginRecord(this.bytes.subarray(0, dataAt), PLAIN_KIND, origin.volume);
    fields.setU64(32, origin.number);
    fields.setU64(40, origin.epoch);
    fields.setU64(48, origin.first);
    fields.setU64(56, origin.last);
    fields.setU32(64, blockSize);
    fields.setU32(68, frames.length);
    fields.setU32(72, blocks);
    fields.setU32(76, dataAt);
    fields.setU64(80, this.bytes.length);
    fields.setU32(88, origin.part);
    fields.setU32(92, origin.parts);
    if (piece > 0) {
      fields.setU32(96, ZSTD);
      fields.setU32(100, piece);
    }
    let at = CHUNK_HEADER_BYTES;
    let nth = 0;
    let end = 0;
    for (const { block, count, hole } of frames) {
      assert(block >= end && count > 0, "frames are sorted, and do not overlap");
      end = block + count;
      fields.setU64(at, block);
      fields.setU32(at + 8, count);
      fields.setU32(at + 12, hole ? HOLE_KIND : DATA);
      if (!hole) {
        fields.setU32(at + 16, nth * blockSize);
        fields.setU32(at + 20, count * blockSize);
        fields.setU32(at + 24, nth);
        nth += count;
      }
      at += FRAME_BYTES;
    }
    this.#fields = fields;
    this.#blockSize = blockSize;
    this.#frames = frames;
    this.#dataAt = dataAt;
    this.#blocks = blocks;
  }

  /** The room for the data of the nth block and those after it. */
  data(nth: number): Uint8Array<ArrayBuffer> {
    return this.bytes.subarray(this.#dataAt + nth * this.#blockSize);
  }

  /** Sums up all blocks and the table. Nothing may change afterwards. */
  seal(): void {
    const sums = CHUNK_HEADER_BYTES + this.#frames.length * FRAME_BYTES;
    for (let nth = 0; nth < this.#blocks; nth++) {
      const block = this.data(nth).subarray(0, this.#blockSize);
      this.#fields.setU32(sums + nth * SUM_BYTES, sumOf(block));
    }
    sealRecord(this.#fields);
  }
}

/** Adds a chunk's frames to a map. */
export function addFrames(extents: Extents, frames: readonly Frame[], chunk: number): void {
  let nth = 0;
  for (const { block, count, hole } of frames) {
    extents.push(block, count, hole ? HOLE : placeOf(chunk, nth));
    if (!hole) nth += count;
  }
}

/** Numbers of a chunk's header, in whatever form it is. */
export interface ChunkShape {
  /** Its number. */
  readonly number: number;
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Number of frames. */
  readonly frames: number;
  /** Number of blocks of data. */
  readonly blocks: number;
  /** Where the data begins. */
  readonly dataAt: number;
  /** Bytes of the object. */
  readonly length: number;
  /** Bytes of data that are compressed at a time; 0 for a chunk that is not to be. */
  readonly piece: number;
  /** It was compressed. */
  readonly isPacked: boolean;
}

/** Reads the numbers of a chunk's header. @throws {FormatError} if one is out of range. */
export function shapeOfChunk(bytes: Uint8Array<ArrayBuffer>): ChunkShape {
  const fields = new Fields(bytes);
  return { ...countsOf(fields), number: fields.u64(32), length: fields.u64(80) };
}

function countsOf(fields: Fields): Omit<ChunkShape, "number" | "length"> {
  return {
    blockSize: fields.u32(64),
    frames: fields.u32(68),
    blocks: fields.u32(72),
    dataAt: fields.u32(76),
    piece: fields.u32(96) === ZSTD ? fields.u32(100) : 0,
    isPacked: versionOfRecord(fields) === PACKED,
  };
}

/** Whether a chunk was compressed, by the beginning of its header. */
export function isPackedChunk(bytes: Uint8Array<ArrayBuffer>): boolean {
  return bytes.length >= CHUNK_HEADER_BYTES && countsOf(new Fields(bytes)).isPacked;
}

/** Gives a chunk's header another form. The sum is to be written afterwards. */
export function reshapeChunk(
  fields: Fields,
  { isPacked, dataAt, length }: Pick<ChunkShape, "isPacked" | "dataAt" | "length">,
): void {
  setVersion(fields, isPacked ? PACKED : PLAIN);
  fields.setU32(76, dataAt);
  fields.setU64(80, length);
}

/**
 * How many bytes of a chunk stand before its data, from its first {@linkcode CHUNK_HEADER_BYTES}.
 * The number is not checked by a sum yet, but it is bounded.
 *
 * @throws {FormatError}
 */
export function tableBytesOf(bytes: Uint8Array<ArrayBuffer>): number {
  const fields = peekRecord(bytes, KIND, true);
  if (bytes.length < CHUNK_HEADER_BYTES) throw new FormatError("it is too short for a chunk");
  const shape = countsOf(fields);
  const { blocks, dataAt } = shape;
  if (blocks > MAX_CHUNK_BLOCKS || !offsetsOf(shape, isSealedRecord(bytes)).includes(dataAt)) {
    throw new FormatError("its checksum is wrong: a chunk's header is damaged");
  }
  return dataAt;
}

/** Where the data of such a chunk may begin. */
function offsetsOf(
  { isPacked, frames, blocks, blockSize, piece }: Omit<ChunkShape, "number" | "length">,
  isSealed: boolean,
): number[] {
  // A chunk that was sealed keeps its room for seals when it is opened.
  if (!isPacked) return [dataOffset(frames, blocks), dataOffset(frames, blocks, true)];
  if (piece === 0 || piece % blockSize !== 0) return [];
  return [packedDataOffset(frames, blocks, piecesIn(blocks * blockSize, piece), isSealed)];
}

/**
 * Checks the sum of what stands before a chunk's data, in whatever form.
 *
 * @param mayBeSealed Only what stands in the clear will be read.
 * @throws {FormatError}
 */
export function checkChunkTable(
  bytes: Uint8Array<ArrayBuffer>,
  volume?: string,
  mayBeSealed = true,
): void {
  if (tableBytesOf(bytes) !== bytes.length) throw new FormatError("it is too short for a chunk");
  openRecord(bytes, KIND, volume, mayBeSealed);
}

/** The table of a chunk. */
export interface ChunkTable extends ChunkOrigin {
  /** The frames. */
  readonly frames: readonly Frame[];
  /** Where the data begins. */
  readonly dataAt: number;
  /** The sum of each block. */
  readonly sums: Uint32Array<ArrayBuffer>;
  /** The length of the object. */
  readonly length: number;
  readonly piece: number;
}

/**
 * Reads what stands before a chunk's data.
 *
 * @param bytes So many as {@linkcode tableBytesOf} says.
 * @throws {FormatError}
 */
export function decodeChunkTable(
  bytes: Uint8Array<ArrayBuffer>,
  volume: string,
  number: number,
): ChunkTable {
  if (tableBytesOf(bytes) !== bytes.length) throw new FormatError("it is too short for a chunk");
  const fields = openRecord(bytes, KIND, volume);
  const { isPacked, piece } = countsOf(fields);
  if (isPacked) throw new FormatError("it is compressed, and has not been opened");
  // A valid chunk under a wrong name passes every sum.
  if (fields.u64(32) !== number) throw new FormatError(`it is chunk ${fields.u64(32)}`);
  const [blockSize, count, blocks] = [fields.u32(64), fields.u32(68), fields.u32(72)];
  const dataAt = bytes.length;
  const length = fields.u64(80);
  if (length !== dataAt + blocks * blockSize) throw new FormatError("its length is wrong");
  const frames: Frame[] = [];
  let at = CHUNK_HEADER_BYTES;
  for (let nth = 0; nth < count; nth++, at += FRAME_BYTES) {
    frames.push({
      block: fields.u64(at),
      count: fields.u32(at + 8),
      hole: fields.u32(at + 12) === HOLE_KIND,
    });
  }
  const sums = new Uint32Array(blocks);
  for (let nth = 0; nth < blocks; nth++, at += SUM_BYTES) sums[nth] = fields.u32(at);
  return {
    ...{ volume, number, blockSize, frames, dataAt, sums, length },
    epoch: fields.u64(40),
    first: fields.u64(48),
    last: fields.u64(56),
    part: fields.u32(88),
    parts: fields.u32(92),
    piece,
  };
}
