/**
 * The file of a volume's cache. Nothing in it is trusted: see `docs/volume-format.md`.
 *
 * ```
 *    0  record    magic "UBLKCACH"; the sum covers the first 4096 bytes
 *   32  line      u32: bytes of a line, 65536
 *   36  zero      u32
 *   40  slots     u64: their number
 *   48  epoch     u64: of the attachment that used it last
 *   56  manifest  u64: number of the manifest that this began with
 *   64  copy      16 bytes: of which copy of the volume it is, as its catalog says; zeroes for none
 *   80  zeroes
 * 4096  per slot, f64: the key of its line + 1, or 0
 *    …  zeroes up to a multiple of 4096
 *    …  the lines
 * ```
 *
 * @module
 */

import {
  beginRecord,
  NO_UUID,
  openRecord,
  type RecordKind,
  sealRecord,
  volumeOfRecord,
} from "./record.ts";

const KIND: RecordKind = { magic: "UBLKCACH", version: 1, words: "a cache" };
/** Bytes of the header, and of a page of keys. */
export const CACHE_PAGE = 4096;
/** Bytes of a slot's key. */
export const CACHE_KEY_BYTES = 8;

/** The fields of the header. */
export interface CacheHeader {
  /** The volume's UUID. */
  readonly volume: string;
  /** Bytes of a line. */
  readonly line: number;
  /** Number of slots. */
  readonly slots: number;
  /** The epoch of the attachment that used it last. */
  readonly epoch: number;
  /** The number of the manifest that this began with. */
  readonly manifest: number;
  /** Of which copy of the volume it is; undefined for a volume that is no copy. */
  readonly copy?: string;
}

/** Writes a header. */
export function encodeCacheHeader(header: CacheHeader): Uint8Array<ArrayBuffer> {
  const fields = beginRecord(new Uint8Array(CACHE_PAGE), KIND, header.volume);
  fields.setU32(32, header.line);
  fields.setU64(40, header.slots);
  fields.setU64(48, header.epoch);
  fields.setU64(56, header.manifest);
  fields.setUuid(64, header.copy ?? NO_UUID);
  sealRecord(fields);
  return fields.bytes;
}

/**
 * Reads a header.
 *
 * @param volume The volume that it is to be of. Default: any.
 * @throws {FormatError}
 */
export function decodeCacheHeader(bytes: Uint8Array<ArrayBuffer>, volume?: string): CacheHeader {
  const fields = openRecord(bytes, KIND, volume);
  const copy = fields.uuid(64);
  return {
    volume: volumeOfRecord(fields),
    line: fields.u32(32),
    slots: fields.u64(40),
    epoch: fields.u64(48),
    manifest: fields.u64(56),
    ...copy === NO_UUID ? {} : { copy },
  };
}

/** Where the lines begin. */
export function cacheLinesAt(slots: number): number {
  return CACHE_PAGE + Math.ceil(slots * CACHE_KEY_BYTES / CACHE_PAGE) * CACHE_PAGE;
}

/** How many slots a file of so many bytes has room for. */
export function cacheSlots(bytes: number, line: number): number {
  let slots = Math.floor((bytes - CACHE_PAGE) / (line + CACHE_KEY_BYTES));
  while (slots > 0 && cacheLinesAt(slots) + slots * line > bytes) slots--;
  return Math.max(0, slots);
}
