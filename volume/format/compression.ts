/**
 * How a volume's data is compressed: each piece by itself, so that one can be read alone.
 *
 * @module
 */

/** How the data of a volume is compressed. */
export type Compression = "none" | "zstd";

/** All kinds. */
export const COMPRESSIONS: readonly Compression[] = ["none", "zstd"];

/** The number of zstd in manifests and chunks; none has 0. */
export const ZSTD = 1;

/** Most bytes of a piece: what a cache's line has room for. */
export const MOST_PIECE_BYTES = 65536;
/** A chunk has so many pieces at least, so that a read of a block does not take all of it. */
const LEAST_PIECES = 8;
/** The sizes of chunks are multiples of this. */
const CHUNK_STEP = 4096;

/**
 * The size of chunks of a volume with pieces of a size, if its longest chunk is known and nothing else.
 *
 * @param longest Bytes.
 */
export function leastChunkBytes(piece: number, longest: number): number {
  return Math.max(piece * LEAST_PIECES, Math.ceil(longest / CHUNK_STEP) * CHUNK_STEP);
}

/** The numbers of a volume that say what it compresses. */
export interface Compressing {
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Most bytes of a chunk. */
  readonly chunkSize: number;
  /** How data is compressed; undefined for not at all. */
  readonly compression?: "zstd";
}

/** Bytes of data that a volume compresses at a time; 0 for one that does not. */
export function pieceBytes({ blockSize, chunkSize, compression }: Compressing): number {
  if (compression === undefined) return 0;
  const part = 2 ** Math.floor(Math.log2(chunkSize / LEAST_PIECES));
  return Math.max(blockSize, Math.min(MOST_PIECE_BYTES, part));
}
