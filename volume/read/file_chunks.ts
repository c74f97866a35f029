/**
 * Reads chunks that are files of this machine, in place.
 *
 * @module
 */

import { isUblkError } from "../../uapi/error.ts";
import { ChunkFiles, type OpenChunk } from "./chunk_files.ts";
import type { ChunkReads, PieceOwner } from "./chunk_reads.ts";
import { type PackedChunk, type PackedFiles, PackedReads } from "./packed_reads.ts";
import { blockAt, failedRead } from "./reader.ts";
import { openBlocks } from "../seal/chunks.ts";
import { firstUnsound, NOT_OPENED, WRONG_SUM } from "./sound.ts";

/** Reads from files. */
export class FileChunks implements ChunkReads {
  readonly operations: number;
  readonly #files: ChunkFiles;
  readonly #blockSize: number;
  /** Undefined for a volume that does not compress. */
  readonly #packed: PackedReads | undefined;
  #owner!: PieceOwner;

  /**
   * At most `most` are open, apart from those that are being read.
   *
   * @param packed Undefined for a volume that does not compress.
   */
  constructor(open: OpenChunk, most: number, blockSize: number, packed?: PackedFiles) {
    this.#files = new ChunkFiles(open, most);
    this.#blockSize = blockSize;
    this.#packed = packed && new PackedReads(packed, blockSize, {
      using: (chunk) => this.#files.using(chunk),
      over: (piece) => {
        this.#files.release(this.#owner.pieces.chunk[piece]);
        this.#owner.ended(piece);
      },
    });
    this.operations = this.#packed?.operations ?? 0;
  }

  get open(): number {
    return this.#files.size;
  }

  start(owner: PieceOwner): void {
    this.#owner = owner;
    this.#packed?.start(owner);
  }

  most(nth: number): number {
    if (this.#packed === undefined) return Infinity;
    const { perPiece } = this.#packed;
    return perPiece - nth % perPiece;
  }

  read(piece: number): boolean {
    const { pieces } = this.#owner;
    const [chunk, nth] = [pieces.chunk[piece], pieces.from[piece]];
    let opened;
    try {
      opened = this.#files.take(chunk);
    } catch (error) {
      // Anything else is a mistake of ours.
      if (!isUblkError(error)) throw error;
      this.#owner.fail(piece, error.message);
      return true;
    }
    const { length } = opened.sums;
    if (nth + pieces.bytes[piece] / this.#blockSize > length) {
      this.#files.release(chunk);
      this.#owner.fail(piece, `${opened.name} has ${length} blocks, and not ${nth}`);
      return true;
    }
    if (opened.pieces !== undefined) return this.#readPacked(piece, opened as PackedChunk);
    pieces.fd[piece] = opened.fd;
    pieces.offset[piece] = opened.dataAt + nth * this.#blockSize;
    this.#owner.send(piece);
    return false;
  }

  #readPacked(piece: number, opened: PackedChunk): boolean {
    const isOver = this.#packed!.read(piece, opened);
    if (isOver) this.#files.release(this.#owner.pieces.chunk[piece]);
    return isOver;
  }

  done(token: number, result: number): void {
    this.#packed!.done(token, result);
  }

  /** Whether no operation uses memory for compressed chunks. */
  get isIdle(): boolean {
    return this.#packed?.isIdle !== false;
  }

  came(piece: number, result: number): boolean {
    const { pieces } = this.#owner;
    const [chunk, nth] = [pieces.chunk[piece], pieces.from[piece]];
    const { name, dataAt, sums, seals } = this.#files.using(chunk);
    const byte = dataAt + nth * this.#blockSize;
    if (pieces.got[piece] !== pieces.bytes[piece]) {
      this.#owner.fail(piece, failedRead(blockAt(name, byte), result));
    } else {
      const start = pieces.at[piece];
      const data = this.#owner.host.data(pieces.request[piece]);
      const end = start + pieces.bytes[piece];
      const unsound = firstUnsound(data, start, end, this.#blockSize, sums, nth);
      if (unsound >= 0) {
        this.#owner.fail(piece, `${blockAt(name, byte + unsound)} ${WRONG_SUM}`);
      } else if (seals && !openBlocks(seals, data, start, end, this.#blockSize, nth)) {
        this.#owner.fail(piece, `${blockAt(name, byte)}: ${NOT_OPENED}`);
      }
    }
    this.#files.release(chunk);
    return true;
  }

  [Symbol.dispose](): void {
    this.#files[Symbol.dispose]();
  }
}
