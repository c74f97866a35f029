/**
 * The data of a chunk that is opened in units: in blocks if it is only sealed, in pieces if it is
 * compressed. A unit that does not open becomes data that the sums of its blocks are not of.
 *
 * @module
 */

import { Fields } from "../format/record.ts";
import { shapeOfChunk } from "../format/chunk.ts";
import { sumOf } from "../format/sum.ts";
import { openBlocks, type SealedTable } from "../seal/chunks.ts";
import { isPieceSound, openPiece, type PackedTable, pieceLength } from "./chunks.ts";

/** The data of a chunk, and its table in the plain form. */
export interface DataUnits {
  /** The table in the plain form. Its length is where the data begins there. */
  readonly table: Uint8Array<ArrayBuffer>;
  /** Bytes of data in a unit; the last one may have fewer. */
  readonly size: number;
  /** Their number. */
  readonly count: number;
  /** Where the data begins in the object. */
  readonly dataAt: number;
  /** Whether the units have other lengths there. */
  readonly isPacked: boolean;
  /** Where a unit begins in the object, counted from where the data begins; or where the last one ends. */
  offsetOf(nth: number): number;
  /** Bytes of the plain form of an object that has so many: what is missing there is missing here. */
  sizeOf(stored: number): number;
  /**
   * Opens units.
   *
   * @param lay The bytes that lie there, from the first unit on. There may be fewer.
   * @param target Room for their data. There may be less.
   */
  open(
    lay: Uint8Array<ArrayBuffer>,
    first: number,
    end: number,
    target: Uint8Array<ArrayBuffer>,
  ): void;
}

/** The blocks of a sealed chunk. */
export class SealedUnits implements DataUnits {
  readonly table: Uint8Array<ArrayBuffer>;
  readonly size: number;
  readonly count: number;
  readonly dataAt: number;
  readonly isPacked = false;
  readonly #opened: SealedTable;

  /** Of a sealed chunk. */
  constructor(opened: SealedTable) {
    this.#opened = opened;
    this.table = opened.bytes;
    this.dataAt = opened.bytes.length;
    this.size = new Fields(opened.bytes).u32(64);
    this.count = opened.sums.length;
  }

  offsetOf(nth: number): number {
    return nth * this.size;
  }

  sizeOf(stored: number): number {
    return stored;
  }

  open(
    lay: Uint8Array<ArrayBuffer>,
    first: number,
    end: number,
    target: Uint8Array<ArrayBuffer>,
  ): void {
    const { size } = this;
    const { sums, innerSums, seals } = this.#opened;
    for (let nth = first, at = 0; nth < end && at < target.length; nth++, at += size) {
      const block = lay.subarray(at, at + size);
      const room = target.subarray(at, at + size);
      room.set(block.subarray(0, room.length));
      // Of a block that was cut, nobody takes the rest.
      if (room.length < size) return;
      const isSound = block.length === size && sumOf(block) === sums[nth];
      if (isSound && openBlocks(seals, room, 0, size, size, nth)) continue;
      spoil(room, size, innerSums, nth);
    }
  }
}

/** The pieces of a compressed chunk. */
export class PieceUnits implements DataUnits {
  readonly table: Uint8Array<ArrayBuffer>;
  readonly size: number;
  readonly count: number;
  readonly dataAt: number;
  readonly isPacked = true;
  readonly #opened: PackedTable;
  readonly #blockSize: number;

  /** Of a compressed chunk. */
  constructor(opened: PackedTable) {
    this.#opened = opened;
    this.table = opened.bytes;
    this.dataAt = opened.dataAt;
    this.size = opened.pieces.size;
    this.count = opened.pieces.sums.length;
    this.#blockSize = shapeOfChunk(opened.bytes).blockSize;
  }

  offsetOf(nth: number): number {
    const { offsets } = this.#opened.pieces;
    return offsets[Math.min(nth, this.count)];
  }

  sizeOf(stored: number): number {
    const { bytes, length, pieces: { dataBytes } } = this.#opened;
    return Math.max(0, bytes.length + dataBytes + stored - length);
  }

  open(
    lay: Uint8Array<ArrayBuffer>,
    first: number,
    end: number,
    target: Uint8Array<ArrayBuffer>,
  ): void {
    const { pieces, blockSums } = this.#opened;
    const from = this.offsetOf(first);
    for (let nth = first; nth < end && nth < this.count; nth++) {
      const piece = lay.subarray(this.offsetOf(nth) - from, this.offsetOf(nth + 1) - from);
      const at = (nth - first) * this.size;
      const data = new Uint8Array(pieceLength(pieces, nth));
      if (!isPieceSound(pieces, nth, piece) || !openPiece(pieces, nth, piece, data)) {
        spoil(data, this.#blockSize, blockSums, nth * this.size / this.#blockSize);
      }
      const room = target.subarray(at, at + data.length);
      room.set(data.subarray(0, room.length));
    }
  }
}

/** Makes blocks what their sums are not of. */
function spoil(
  data: Uint8Array<ArrayBuffer>,
  blockSize: number,
  sums: Uint32Array<ArrayBuffer>,
  first: number,
): void {
  data.fill(0);
  for (let at = 0, nth = first; at < data.length; at += blockSize, nth++) {
    if (sumOf(data.subarray(at, at + blockSize)) === sums[nth]) data[at] = 1;
  }
}
