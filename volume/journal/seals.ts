/**
 * What opens the blocks of the journal's files, for an engine that reads single ones: per block its tag
 * and its count, per file the key of the opening that wrote the segment in it. An opening begins with an
 * empty segment, so a segment is of one.
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";
import { TAG_BYTES, unseal } from "../seal/gcm.ts";
import type { BatchSeals } from "../seal/journal.ts";

/** The seals of a journal's blocks. */
export class JournalSeals {
  readonly #blockSize: number;
  readonly #tags: readonly Uint8Array<ArrayBuffer>[];
  readonly #counts: readonly Float64Array<ArrayBuffer>[];
  readonly #keys: (Uint8Array<ArrayBuffer> | undefined)[];

  /** Of so many files, each of so many bytes. */
  constructor(files: number, size: number, blockSize: number) {
    const blocks = Math.ceil(size / blockSize);
    this.#blockSize = blockSize;
    this.#tags = Array.from({ length: files }, () => new Uint8Array(blocks * TAG_BYTES));
    this.#counts = Array.from({ length: files }, () => new Float64Array(blocks));
    this.#keys = new Array(files).fill(undefined);
  }

  /**
   * Notes a batch.
   *
   * @param offset Where its data begins in the file, in bytes: whole blocks.
   */
  enter(file: number, offset: number, blocks: number, { key, count, tags }: BatchSeals): void {
    const first = offset / this.#blockSize;
    assert(Number.isInteger(first), "data begins with a whole block");
    this.#keys[file] = key;
    this.#tags[file].set(tags.subarray(0, blocks * TAG_BYTES), first * TAG_BYTES);
    const counts = this.#counts[file];
    for (let nth = 0; nth < blocks; nth++) counts[first + nth] = count + nth;
  }

  /**
   * Decrypts blocks of a file in place.
   *
   * @param offset Where the first one is in the file.
   * @returns Whether all are authentic.
   */
  open(
    file: number,
    offset: number,
    data: Uint8Array<ArrayBuffer>,
    start: number,
    end: number,
  ): boolean {
    const key = this.#keys[file];
    if (key === undefined) return false;
    let nth = offset / this.#blockSize;
    for (let at = start; at < end; at += this.#blockSize, nth++) {
      const block = data.subarray(at, at + this.#blockSize);
      const tag = this.#tags[file].subarray(nth * TAG_BYTES, (nth + 1) * TAG_BYTES);
      if (!unseal(key, this.#counts[file][nth], undefined, block, block, tag)) return false;
    }
    return true;
  }
}
