/**
 * Sums of bodies.
 *
 * @module
 */

import { crc32 } from "node:zlib";

/** The CRC-32 of bytes, as S3 writes it. */
export function sumOf(bytes: Uint8Array): string {
  const sum = new Uint8Array(4);
  new DataView(sum.buffer).setUint32(0, crc32(bytes) >>> 0);
  return sum.toBase64();
}

/** The headers by which a store verifies a body. */
export function sumHeaders(bytes: Uint8Array): Record<string, string> {
  // Ceph verifies the sum only if it is told its name too.
  return { "x-amz-sdk-checksum-algorithm": "CRC32", "x-amz-checksum-crc32": sumOf(bytes) };
}
