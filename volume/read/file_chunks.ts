/**
 * Reads chunks that are files of this machine, in place.
 *
 * @module
 */

import { isUblkError } from "../../uapi/error.ts";
import { ChunkFiles, type OpenChunk } from "./chunk_files.ts";
import type { ChunkReads, PieceOwner } from "./chunk_reads.ts";
import { failedRead } from "./reader.ts";
import { openBlocks } from "../seal/chunks.ts";
import { areSound, NOT_OPENED } from "./sound.ts";

/** Reads from files. */
export class FileChunks implements ChunkReads {
  readonly operations: number = 0;
  readonly #files: ChunkFiles;
  readonly #blockSize: number;
  #owner!: PieceOwner;

  /** At most `most` are open, apart from those that are being read. */
  constructor(open: OpenChunk, most: number, blockSize: number) {
    this.#files = new ChunkFiles(open, most);
    this.#blockSize = blockSize;
  }

  get open(): number {
    return this.#files.size;
  }

  start(owner: PieceOwner): void {
    this.#owner = owner;
  }

  most(): number {
    return Infinity;
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
      this.#owner.fail(piece, `chunk ${chunk} has ${length} blocks, and not ${nth}`);
      return true;
    }
    pieces.fd[piece] = opened.fd;
    pieces.offset[piece] = opened.dataAt + nth * this.#blockSize;
    this.#owner.send(piece);
    return false;
  }

  came(piece: number, result: number): boolean {
    const { pieces } = this.#owner;
    const [chunk, nth] = [pieces.chunk[piece], pieces.from[piece]];
    if (pieces.got[piece] !== pieces.bytes[piece]) {
      this.#owner.fail(piece, failedRead(`a read of chunk ${chunk}, block ${nth}`, result));
    } else {
      const start = pieces.at[piece];
      const data = this.#owner.host.data(pieces.request[piece]);
      const { sums, seals } = this.#files.using(chunk);
      const end = start + pieces.bytes[piece];
      if (!areSound(data, start, end, this.#blockSize, sums, nth)) {
        this.#owner.fail(piece, `a read of chunk ${chunk}, block ${nth} has a wrong checksum`);
      } else if (seals && !openBlocks(seals, data, start, end, this.#blockSize, nth)) {
        this.#owner.fail(piece, `a read of chunk ${chunk}, block ${nth}: ${NOT_OPENED}`);
      }
    }
    this.#files.release(chunk);
    return true;
  }

  [Symbol.dispose](): void {
    this.#files[Symbol.dispose]();
  }
}
