/**
 * Chunks, compressed. The data is cut into pieces, and each is compressed by itself and then, in an
 * encrypted volume, sealed as a whole, so that a read opens one piece. A piece of which too little
 * would be saved stays as it is. A chunk without any other is not compressed at all.
 *
 * ```
 *    0  the header, with version 2; the data and the length are those of this form
 *  128  the frames, and the sums of the blocks, as in the plain form
 *    …  per piece: u32, its bytes as it lies there · u32, their sum
 * data  the pieces, one directly after the other
 * ```
 *
 * Sealed:
 *
 * ```
 *    0  the header, in the clear
 *  128  seal, see `format/seal.ts`; its sum is that of the plain form
 *  176  encrypted with count 0: the frames, the sums of the blocks, and per piece a tag of 16 bytes
 *    …  per piece, in the clear: as above
 * data  the pieces; the nth is encrypted with count nth + 1
 * ```
 *
 * A piece that lies there with all bytes that it has is not compressed. Who changes the length of a
 * sealed piece has it not open.
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";
import {
  CHUNK_HEADER_BYTES,
  type ChunkShape,
  dataOffset,
  reshapeChunk,
  shapeOfChunk,
  tableEnd,
} from "../format/chunk.ts";
import {
  packedDataOffset,
  PIECE_BYTES,
  piecesIn,
  piecesOffset,
  SUM_BYTES,
} from "../format/chunk_layout.ts";
import { MOST_PIECE_BYTES } from "../format/compression.ts";
import { Fields, isSealedRecord, sealRecord } from "../format/record.ts";
import { innerSumOf, TAG_BYTES } from "../format/seal.ts";
import { sumOf } from "../format/sum.ts";
import { blinded, type BlockSeals, unblind } from "../seal/chunks.ts";
import { seal, unseal } from "../seal/gcm.ts";
import { beginSeal, openBody, sealBody } from "../seal/records.ts";
import type { VolumeKey } from "../seal/volume_key.ts";
import { compressed, decompress } from "./codec.ts";

const CLEAR = CHUNK_HEADER_BYTES;
/** Most bytes of data of a chunk (`volume/shape.ts`). */
const MOST_DATA_BYTES = 256 << 20;

/** The pieces of a compressed chunk. */
export interface Pieces {
  /** Bytes of data in a piece; the last one may have fewer. */
  readonly size: number;
  /** Bytes of data in all. */
  readonly dataBytes: number;
  /** Where each begins, counted from where the data begins, and where the last one ends. */
  readonly offsets: Uint32Array<ArrayBuffer>;
  /** Their sums, as they lie there. */
  readonly sums: Uint32Array<ArrayBuffer>;
  /** What opens them; undefined for a volume that is not encrypted. */
  readonly seals: BlockSeals | undefined;
}

/** The table of a compressed chunk, opened. */
export interface PackedTable {
  /** The table in the plain form, to where the data begins there. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where the data begins in the object. */
  readonly dataAt: number;
  /** Bytes of the object. */
  readonly length: number;
  /** The sums of the blocks. */
  readonly blockSums: Uint32Array<ArrayBuffer>;
  /** The pieces. */
  readonly pieces: Pieces;
}

/**
 * Compresses a chunk, and seals it if there is a key.
 *
 * @param chunk In the plain form, which says whether it is to be compressed.
 * @returns Undefined if it is not, or if that does not pay: it stays in its plain form.
 */
export function packedChunk(
  chunk: Uint8Array<ArrayBuffer>,
  number: number,
  key: VolumeKey | undefined,
): Uint8Array<ArrayBuffer> | undefined {
  const shape = shapeOfChunk(chunk);
  assert(!shape.isPacked && shape.number === number, "a plain chunk has the number of its name");
  const parts = shape.piece === 0 ? undefined : packedParts(chunk, shape);
  if (parts === undefined) return undefined;
  const { frames, blocks } = shape;
  const isSealed = key !== undefined;
  const dataAt = packedDataOffset(frames, blocks, parts.length, isSealed);
  const length = parts.reduce((sum, part) => sum + part.length, dataAt);
  const packed = new Uint8Array(length);
  const plain = chunk.subarray(0, shape.dataAt);
  const table = isSealed ? blinded(plain, frames) : plain;
  packed.set(table.subarray(0, CLEAR));
  const fields = new Fields(packed.subarray(0, dataAt));
  reshapeChunk(fields, { isPacked: true, dataAt, length });
  const end = tableEnd(frames, blocks);
  const own = key && beginSeal(key, packed, CLEAR, number);
  const body = new Uint8Array(end - CLEAR + (isSealed ? parts.length * TAG_BYTES : 0));
  body.set(table.subarray(CLEAR, end));
  let at = dataAt;
  parts.forEach((part, nth) => {
    const room = packed.subarray(at, at += part.length);
    if (own === undefined) room.set(part);
    else {
      const tagAt = end - CLEAR + nth * TAG_BYTES;
      seal(own, nth + 1, undefined, part, room, body.subarray(tagAt, tagAt + TAG_BYTES));
    }
    const entry = piecesOffset(frames, blocks, parts.length, isSealed) + nth * PIECE_BYTES;
    fields.setU32(entry, part.length);
    fields.setU32(entry + SUM_BYTES, sumOf(room));
  });
  if (own === undefined) packed.set(body, CLEAR);
  else sealBody(own, packed, CLEAR, body);
  sealRecord(fields);
  return packed;
}

/** The pieces, compressed where that pays; undefined if it does for none. */
function packedParts(
  chunk: Uint8Array<ArrayBuffer>,
  { dataAt, piece, blocks, blockSize }: ChunkShape,
): Uint8Array<ArrayBuffer>[] | undefined {
  const data = chunk.subarray(dataAt, dataAt + blocks * blockSize);
  let isSmaller = false;
  const parts = Array.from({ length: piecesIn(data.length, piece) }, (_, nth) => {
    const part = data.subarray(nth * piece, (nth + 1) * piece);
    const packed = compressed(part);
    isSmaller ||= packed !== undefined;
    return packed ?? part;
  });
  return isSmaller ? parts : undefined;
}

/**
 * Opens the table of a compressed chunk, whose sum is right.
 *
 * @returns Undefined if it is not authentic, or says what cannot be.
 */
export function openPackedTable(
  packed: Uint8Array<ArrayBuffer>,
  number: number,
  key: VolumeKey | undefined,
): PackedTable | undefined {
  const { frames, blocks, blockSize, dataAt, length, piece } = shapeOfChunk(packed);
  const isSealed = key !== undefined;
  if (isSealed !== isSealedRecord(packed)) return undefined;
  const dataBytes = blocks * blockSize;
  // Whoever opens all of it makes memory for that.
  if (piece === 0 || piece > MOST_PIECE_BYTES || dataBytes > MOST_DATA_BYTES) return undefined;
  const count = piecesIn(dataBytes, piece);
  const end = tableEnd(frames, blocks);
  const opened = key &&
    openBody(key, packed, CLEAR, number, end - CLEAR + count * TAG_BYTES);
  if (isSealed && opened === undefined) return undefined;
  const plainAt = dataOffset(frames, blocks, isSealed);
  const bytes = new Uint8Array(plainAt);
  bytes.set(packed.subarray(0, CLEAR));
  bytes.set(opened?.body.subarray(0, end - CLEAR) ?? packed.subarray(CLEAR, end), CLEAR);
  const plain = new Fields(bytes);
  reshapeChunk(plain, { isPacked: false, dataAt: plainAt, length: plainAt + dataBytes });
  const sum = sealRecord(plain);
  const fields = new Fields(packed);
  if (isSealed && sum !== innerSumOf(fields, CLEAR)) return undefined;
  if (isSealed) unblind(bytes, frames);
  const offsets = new Uint32Array(count + 1);
  const sums = new Uint32Array(count);
  for (let nth = 0; nth < count; nth++) {
    const entry = piecesOffset(frames, blocks, count, isSealed) + nth * PIECE_BYTES;
    const stored = fields.u32(entry);
    if (stored === 0 || stored > Math.min(piece, dataBytes - nth * piece)) return undefined;
    offsets[nth + 1] = offsets[nth] + stored;
    sums[nth] = fields.u32(entry + SUM_BYTES);
  }
  if (dataAt + offsets[count] !== length) return undefined;
  const seals = opened && { key: opened.key, tags: opened.body.slice(end - CLEAR) };
  const blockSums = Uint32Array.from(
    { length: blocks },
    (_, nth) => plain.u32(end - (blocks - nth) * SUM_BYTES),
  );
  return {
    bytes,
    dataAt,
    length,
    blockSums,
    pieces: { size: piece, dataBytes, offsets, sums, seals },
  };
}

/** Bytes of data that a piece has. */
export function pieceLength({ size, dataBytes }: Pieces, nth: number): number {
  return Math.min(size, dataBytes - nth * size);
}

/** Bytes of a piece as it lies there. */
export function storedBytes({ offsets }: Pieces, nth: number): number {
  return offsets[nth + 1] - offsets[nth];
}

/** Whether the bytes of a piece are those that were put. */
export function isPieceSound(
  { offsets, sums }: Pieces,
  nth: number,
  lay: Uint8Array<ArrayBuffer>,
): boolean {
  return lay.length === offsets[nth + 1] - offsets[nth] && sumOf(lay) === sums[nth];
}

/**
 * Opens a piece whose sum is right.
 *
 * @param lay Its bytes as they lie there. They stay as they are.
 * @param target As long as its data, see {@linkcode pieceLength}.
 * @returns Whether it is authentic, and opens. Otherwise the target holds anything.
 */
export function openPiece(
  { seals }: Pieces,
  nth: number,
  lay: Uint8Array<ArrayBuffer>,
  target: Uint8Array<ArrayBuffer>,
): boolean {
  const isRaw = lay.length === target.length;
  let packed = lay;
  if (seals !== undefined) {
    packed = isRaw ? target : new Uint8Array(lay.length);
    const tag = seals.tags.subarray(nth * TAG_BYTES, (nth + 1) * TAG_BYTES);
    if (!unseal(seals.key, nth + 1, undefined, lay, packed, tag)) return false;
  } else if (isRaw) target.set(lay);
  return isRaw || decompress(packed, target);
}

/**
 * Makes a piece of its data, as it lay in a chunk, for whoever mends that.
 *
 * @returns Undefined if it lay there otherwise. Nothing of what was sealed gets out then, so no count
 *   seals two things.
 */
export function pieceAsItLay(
  { seals, offsets, sums }: Pieces,
  nth: number,
  data: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> | undefined {
  const length = offsets[nth + 1] - offsets[nth];
  const packed = length === data.length ? data : compressed(data);
  if (packed?.length !== length) return undefined;
  const lay = seals === undefined ? packed : new Uint8Array(length);
  if (seals !== undefined) {
    const tag = new Uint8Array(TAG_BYTES);
    seal(seals.key, nth + 1, undefined, packed, lay, tag);
    if (!tag.every((byte, at) => byte === seals.tags[nth * TAG_BYTES + at])) return undefined;
  }
  return sumOf(lay) === sums[nth] ? lay : undefined;
}
