/**
 * The tables of chunks as they lie in the store, whatever their form.
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";
import {
  checkChunkTable,
  type ChunkTable,
  decodeChunkTable,
  isPackedChunk,
} from "../format/chunk.ts";
import { FormatError, isSealedRecord, notOpened } from "../format/record.ts";
import { type BlockSeals, openTable } from "../seal/chunks.ts";
import type { VolumeKey } from "../seal/volume_key.ts";
import { openPackedTable, type Pieces } from "./chunks.ts";

/** A chunk's table, and what opens its data. */
export interface OpenedTable extends ChunkTable {
  /** What opens the blocks; undefined for a volume that is not encrypted, and for a compressed chunk. */
  readonly seals: BlockSeals | undefined;
  /** The pieces of a chunk that is compressed; undefined for others. */
  readonly pieces: Pieces | undefined;
}

/**
 * Reads what stands before a chunk's data, sealed or not, as the volume is, and compressed or not.
 *
 * @returns `dataAt` and `length` are those of the object. The sums are those of the blocks as they lie
 *   there; of a compressed chunk, those of the blocks when they are opened.
 * @throws {FormatError}
 */
export function decodeAnyTable(
  bytes: Uint8Array<ArrayBuffer>,
  volume: string,
  number: number,
  key: VolumeKey | undefined,
): OpenedTable {
  const isPacked = isPackedChunk(bytes);
  if (key === undefined && !isPacked) {
    const table = decodeChunkTable(bytes, volume, number);
    return { ...table, seals: undefined, pieces: undefined };
  }
  // Damage is told before it is called a forgery. Without a key this says that there is none.
  checkChunkTable(bytes, volume, key !== undefined);
  if (isPacked) return packedTable(bytes, volume, number, key);
  assert(key !== undefined, "who has none has read it");
  const table = isSealedRecord(bytes) ? openTable(key, bytes, number) : undefined;
  if (table === undefined) throw notOpened("a chunk");
  const { sums, seals } = table;
  return { ...decodeChunkTable(table.bytes, volume, number), sums, seals, pieces: undefined };
}

function packedTable(
  bytes: Uint8Array<ArrayBuffer>,
  volume: string,
  number: number,
  key: VolumeKey | undefined,
): OpenedTable {
  const table = openPackedTable(bytes, number, key);
  if (table === undefined) {
    throw key === undefined
      ? new FormatError("its table says what cannot be")
      : notOpened("a chunk");
  }
  const { dataAt, length, pieces } = table;
  const plain = decodeChunkTable(table.bytes, volume, number);
  return { ...plain, dataAt, length, pieces, seals: undefined };
}

/**
 * Checks that a chunk is compressed only where its volume is, and in such pieces.
 *
 * @param piece Bytes of a piece; 0 for a volume that does not compress.
 * @throws {FormatError}
 */
export function checkPieces(pieces: Pieces | undefined, piece: number): void {
  if (pieces === undefined || pieces.size === piece) return;
  throw new FormatError(
    piece === 0
      ? "it is compressed, and its volume is not"
      : `it has pieces of ${pieces.size} bytes, and not ${piece}`,
  );
}
