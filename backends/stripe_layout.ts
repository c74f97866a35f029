/**
 * Where the bytes of a striped disk are: chunk `i` of the disk is chunk `i / n` (rounded down) of
 * file `i % n`. Numbers only, since it is asked on every request; a disk in one file is the case
 * of `n = 1`.
 *
 * @module
 */

import { assert } from "../uapi/error.ts";

/** The layout of a disk over some files. */
export class StripeLayout {
  /** Number of files. */
  readonly files: number;
  /** Bytes of a chunk. */
  readonly chunkBytes: number;
  readonly #rowBytes: number;

  /** A layout; the disk's size does not matter to it. */
  constructor(files: number, chunkBytes: number) {
    assert(files > 0 && chunkBytes > 0, "there are files, and chunks in them");
    this.files = files;
    this.chunkBytes = chunkBytes;
    this.#rowBytes = files * chunkBytes;
  }

  /** The index of the file that has the disk's byte `offset`. */
  fileOf(offset: number): number {
    if (this.files === 1) return 0;
    // No shifts: offsets beyond 2^31 are ordinary.
    return Math.floor(offset / this.chunkBytes) % this.files;
  }

  /** Where in that file it is. */
  fileOffset(offset: number): number {
    if (this.files === 1) return offset;
    return Math.floor(offset / this.#rowBytes) * this.chunkBytes + offset % this.chunkBytes;
  }

  /** How many bytes from `offset` on are side by side in that file, `most` at most. */
  pieceBytes(offset: number, most: number): number {
    if (this.files === 1) return most;
    return Math.min(most, this.chunkBytes - offset % this.chunkBytes);
  }

  /**
   * How many of the disk's first `offset` bytes are in that file. Any range of the disk is one range
   * of each file: from what lies before its start to what lies before its end.
   */
  bytesBefore(file: number, offset: number): number {
    if (this.files === 1) return offset;
    const row = Math.floor(offset / this.#rowBytes);
    const within = offset - row * this.#rowBytes - file * this.chunkBytes;
    return row * this.chunkBytes + Math.min(Math.max(within, 0), this.chunkBytes);
  }
}
