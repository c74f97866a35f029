/**
 * The checksum of all formats: CRC-32 as of zlib, gzip and S3's `x-amz-checksum-crc32`. In Deno it
 * costs what copying the bytes costs.
 *
 * @module
 */

import { crc32 } from "node:zlib";
import { assert } from "../../uapi/error.ts";

/** The CRC-32 of bytes, or of bytes that continue those with the given sum. */
export function sumOf(bytes: Uint8Array<ArrayBuffer>, before = 0): number {
  // Old versions of Deno return negative numbers.
  return crc32(bytes, before) >>> 0;
}

assert(sumOf(new TextEncoder().encode("123456789")) === 0xcbf43926, "the sum is CRC-32");
assert(
  sumOf(new TextEncoder().encode("6789"), sumOf(new TextEncoder().encode("12345"))) === 0xcbf43926,
  "it can be continued",
);
