/**
 * Compresses and opens a piece of data: one zstd frame each.
 *
 * @module
 */

import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { mayPay } from "./entropy.ts";

/** It pays if it saves this part of the data. */
const LEAST_SAVING = 1 / 8;
const LEVEL = 1;
/** Longer matches are none: no piece has more. */
const WINDOW_LOG = 16;
/** A reader needs no more memory for a window than a piece has, twice. */
const MOST_WINDOW_LOG = 17;
/** Room behind a piece: otherwise zstd is called once more, to hear that there is no more. */
const SPARE_BYTES = 64;

/** Compresses data. @returns Undefined if that does not pay. */
export function compressed(data: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> | undefined {
  if (!mayPay(data)) return undefined;
  const packed = zstdCompressSync(data, {
    chunkSize: data.length + 1024,
    params: {
      [constants.ZSTD_c_compressionLevel]: LEVEL,
      [constants.ZSTD_c_windowLog]: WINDOW_LOG,
    },
  });
  return packed.length <= data.length * (1 - LEAST_SAVING) ? new Uint8Array(packed) : undefined;
}

/**
 * Opens what was compressed.
 *
 * @param target As long as the data was: no more is ever made of it, whatever it claims to be.
 * @returns Whether it has that length. Otherwise the target holds anything.
 */
export function decompress(
  packed: Uint8Array<ArrayBuffer>,
  target: Uint8Array<ArrayBuffer>,
): boolean {
  const { length } = target;
  try {
    const data = zstdDecompressSync(packed, {
      maxOutputLength: length,
      chunkSize: length + SPARE_BYTES,
      params: { [constants.ZSTD_d_windowLogMax]: MOST_WINDOW_LOG },
    });
    // A frame that was cut gives less, and no error.
    if (data.length !== length) return false;
    target.set(data);
    return true;
  } catch {
    return false;
  }
}
