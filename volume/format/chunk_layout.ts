/**
 * Where the parts of a chunk are: see `chunk.ts` for its plain form, and `volume/pack/chunks.ts` for one
 * that was compressed.
 *
 * @module
 */

import { BLOCK_SEAL_BYTES, SEAL_BYTES, TAG_BYTES } from "./seal.ts";

/** Bytes of a chunk's header: enough to tell the length of its table. */
export const CHUNK_HEADER_BYTES = 128;
/** Bytes of a frame. */
export const FRAME_BYTES = 32;
/** Where a chunk that is sealed has four random bytes in its table, which has a frame there: they are unused. */
export const BLIND_AT = CHUNK_HEADER_BYTES + 28;
/** Bytes of a sum. */
export const SUM_BYTES = 4;
/** Bytes that the table of a compressed chunk has for each piece: its length, and its sum. */
export const PIECE_BYTES = 8;
/** Data begins at a multiple of this, so that it can be read past the page cache. */
const ALIGNMENT = 4096;

/** Bytes of a chunk's table before the padding: header, frames and sums. */
export function tableEnd(frames: number, blocks: number): number {
  return CHUNK_HEADER_BYTES + frames * FRAME_BYTES + blocks * SUM_BYTES;
}

/**
 * Where the data of a chunk with these numbers of frames and blocks begins.
 *
 * @param isSealed With room for what a sealed chunk has besides, so that its blocks stay where they are.
 */
export function dataOffset(frames: number, blocks: number, isSealed = false): number {
  const seals = isSealed ? SEAL_BYTES + blocks * BLOCK_SEAL_BYTES : 0;
  return Math.ceil((tableEnd(frames, blocks) + seals) / ALIGNMENT) * ALIGNMENT;
}

/** Where the table of a compressed chunk has what it says of its pieces. */
export function piecesOffset(
  frames: number,
  blocks: number,
  pieces: number,
  isSealed: boolean,
): number {
  return tableEnd(frames, blocks) + (isSealed ? SEAL_BYTES + pieces * TAG_BYTES : 0);
}

/** Where the data of a compressed chunk begins. Nobody reads it past the page cache. */
export function packedDataOffset(
  frames: number,
  blocks: number,
  pieces: number,
  isSealed: boolean,
): number {
  return piecesOffset(frames, blocks, pieces, isSealed) + pieces * PIECE_BYTES;
}

/** The number of pieces that data has. */
export function piecesIn(bytes: number, piece: number): number {
  return Math.ceil(bytes / piece);
}
