/**
 * The place of each byte of a striped disk: chunk `i` of the disk is chunk `i / n` (rounded down) of
 * file `i % n`. It computes with numbers only, because every request uses it. A disk in one file is
 * the case `n = 1`.
 *
 * @module
 */

import { assert } from "../uapi/error.ts";

/** The layout of a disk over one or more files. */
export class StripeLayout {
  /** Number of files. */
  readonly files: number;
  /** Bytes of a chunk. */
  readonly chunkBytes: number;
  readonly #rowBytes: number;

  /** Makes a layout, which does not depend on the disk's size. */
  constructor(files: number, chunkBytes: number) {
    assert(files > 0 && chunkBytes > 0, "there are files, and chunks in them");
    this.files = files;
    this.chunkBytes = chunkBytes;
    this.#rowBytes = files * chunkBytes;
  }

  /** The index of the file that holds the disk's byte `offset`. */
  fileOf(offset: number): number {
    if (this.files === 1) return 0;
    // No shifts: offsets beyond 2^31 are ordinary.
    return Math.floor(offset / this.chunkBytes) % this.files;
  }

  /** The offset of that byte in its file. */
  fileOffset(offset: number): number {
    if (this.files === 1) return offset;
    return Math.floor(offset / this.#rowBytes) * this.chunkBytes + offset % this.chunkBytes;
  }

  /** The number of bytes from `offset` on that are contiguous in that file, at most `most`. */
  pieceBytes(offset: number, most: number): number {
    if (this.files === 1) return most;
    return Math.min(most, this.chunkBytes - offset % this.chunkBytes);
  }

  /**
   * The number of the disk's first `offset` bytes that are in that file. Any range of the disk is one
   * range of each file: from `bytesBefore` of its start to `bytesBefore` of its end.
   */
  bytesBefore(file: number, offset: number): number {
    if (this.files === 1) return offset;
    const row = Math.floor(offset / this.#rowBytes);
    const within = offset - row * this.#rowBytes - file * this.chunkBytes;
    return row * this.chunkBytes + Math.min(Math.max(within, 0), this.chunkBytes);
  }
}
