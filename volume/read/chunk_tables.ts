/**
 * The tables of chunks that were read last, with the sums of their blocks: a bounded number of bytes.
 *
 * @module
 */

import type { Pieces } from "../pack/chunks.ts";
import type { BlockSeals } from "../seal/chunks.ts";

/** The part of a chunk's table that a reader needs. */
export interface ChunkSums {
  /** Where the data begins in the object, in bytes. */
  readonly dataAt: number;
  /** The sum of each block, as it lies there; in a compressed chunk, when it is opened. */
  readonly sums: Uint32Array<ArrayBuffer>;
  /** What opens the blocks; undefined for a volume that is not encrypted. */
  readonly seals?: BlockSeals;
  /** The pieces of a compressed chunk; undefined for others. */
  readonly pieces?: Pieces;
}

function bytesOf({ sums, seals, pieces }: ChunkSums): number {
  const bytes = sums.byteLength + (seals?.tags.byteLength ?? 0);
  if (pieces === undefined) return bytes;
  return bytes + 2 * pieces.sums.byteLength + (pieces.seals?.tags.byteLength ?? 0);
}

/** Tables. */
export class ChunkTables {
  readonly #most: number;
  /** In the order of their last use. */
  readonly #tables = new Map<number, ChunkSums>();
  #bytes = 0;
  /** The one that was used last: sequential reads stay in one. */
  #lastChunk = -1;
  #last: ChunkSums | undefined = undefined;

  /** At most so many bytes, or one table. */
  constructor(mostBytes: number) {
    this.#most = mostBytes;
  }

  /** The table of a chunk. */
  find(chunk: number): ChunkSums | undefined {
    if (chunk === this.#lastChunk) return this.#last;
    const found = this.#tables.get(chunk);
    if (found === undefined) return undefined;
    this.#tables.delete(chunk);
    this.#tables.set(chunk, found);
    this.#lastChunk = chunk;
    return this.#last = found;
  }

  /** Adds a table. Others make room. */
  add(chunk: number, table: ChunkSums): void {
    this.#tables.set(chunk, table);
    this.#bytes += bytesOf(table);
    for (const [oldest, other] of this.#tables) {
      if (this.#bytes <= this.#most || oldest === chunk) break;
      this.#tables.delete(oldest);
      this.#bytes -= bytesOf(other);
      if (oldest === this.#lastChunk) this.#lastChunk = -1;
    }
  }
}
