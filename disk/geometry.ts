/**
 * The geometry of a disk: its size and block size, checked.
 *
 * @module
 */

import { BLOCK_SIZES } from "../uapi/block_sizes.ts";
import { parseSize } from "./size.ts";

/** A number of bytes, or a text such as `"1GiB"` (see `parseSize`). */
export type Size = number | string;

/** A part of a disk, in bytes. */
export interface ByteRange {
  /** The first byte. */
  readonly offset: number;
  /** Number of bytes. */
  readonly length: number;
}

/** Options that determine a disk's geometry. */
export interface GeometryOptions {
  /** The size of the disk. */
  readonly size: Size;
  /**
   * Size of a logical block in bytes: 512, 1024, 2048 or 4096.
   *
   * @default 512
   */
  readonly blockSize?: number;
  /**
   * Make the disk read-only: the kernel refuses writes.
   *
   * @default false
   */
  readonly readOnly?: boolean;
}

/** A disk's geometry. */
export interface Geometry {
  /** Size of the disk in bytes. */
  readonly size: number;
  /** Size of a logical block in bytes. */
  readonly blockSize: number;
  /** The disk is read-only: the kernel refuses writes. */
  readonly readOnly: boolean;
}

/**
 * Checks the options and fills in the defaults.
 *
 * @throws {RangeError} One line with the cause and the remedy.
 */
export function geometryOf(options: GeometryOptions): Geometry {
  const { blockSize = 512, readOnly = false } = options;
  const size = typeof options.size === "string" ? parseSize(options.size) : options.size;
  if (!BLOCK_SIZES.includes(blockSize)) {
    throw new RangeError(`block size ${blockSize} is not one of ${BLOCK_SIZES.join(", ")}`);
  }
  if (!Number.isSafeInteger(size) || size <= 0) {
    throw new RangeError(
      `size ${size} is not a positive whole number of bytes below 2^53; give one, or "1GiB"`,
    );
  }
  if (size % blockSize !== 0) {
    const rounded = Math.ceil(size / blockSize) * blockSize;
    throw new RangeError(
      `size ${size} is not a multiple of the block size ${blockSize}; ${rounded} is`,
    );
  }
  return { size, blockSize, readOnly };
}
