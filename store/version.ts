/**
 * Versions of objects, made from their bytes.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import type { Version } from "./store.ts";

/** Objects up to this size have a cryptographic version, in bytes. */
const HASHED_BYTES = 64 << 10;

/**
 * The version of an object with these bytes: equal bytes have equal versions.
 *
 * The objects that are replaced are small, and their versions must differ: SHA-256. A large object
 * is put once, and hashing it would take longer than reading it: CRC-32 and the length.
 */
export function versionOf(bytes: Uint8Array): Version {
  if (bytes.length <= HASHED_BYTES) return createHash("sha256").update(bytes).digest("hex");
  return `${(crc32(bytes) >>> 0).toString(16).padStart(8, "0")}-${bytes.length}`;
}
