/**
 * Manifests and runs, sealed: what names blocks and objects is encrypted, the numbers before are only
 * authenticated.
 *
 * ```
 *       0  the record's clear part, with a version that says so
 *   clear  seal, see `format/seal.ts`
 *       …  the rest of the record, encrypted with count 0
 * ```
 *
 * @module
 */

import {
  Fields,
  hasRightSum,
  isSealedRecord,
  markSealed,
  RECORD_BYTES,
  sealRecord,
} from "../format/record.ts";
import { SEAL_BYTES, SEAL_SUM_AT, SEAL_TAG_AT } from "../format/seal.ts";
import { seal, TAG_BYTES, unseal } from "./gcm.ts";
import { newSalt, SALT_BYTES, type VolumeKey } from "./volume_key.ts";

const MAGIC_BYTES = 8;
const SUM_AT = 12;
const VOLUME_AT = 16;

/** The key of a record with a number. */
function keyOf(
  key: VolumeKey,
  bytes: Uint8Array<ArrayBuffer>,
  clear: number,
  number: number,
): Uint8Array<ArrayBuffer> {
  const magic = bytes.subarray(0, MAGIC_BYTES);
  const salt = bytes.subarray(clear, clear + SALT_BYTES);
  return key.objectKey(magic, bytes.subarray(VOLUME_AT, RECORD_BYTES), number, salt);
}

/** Everything before the tag, without the record's sum. */
function associatedOf(bytes: Uint8Array<ArrayBuffer>, clear: number): Uint8Array<ArrayBuffer> {
  const copy = bytes.slice(0, clear + SEAL_TAG_AT);
  new Fields(copy).setU32(SUM_AT, 0);
  return copy;
}

/** The parts of a record's seal. */
export interface RecordSeal {
  /** The record's own key: the counts from 1 on are its blocks'. */
  readonly key: Uint8Array<ArrayBuffer>;
  /** What stands behind the seal, decrypted. */
  readonly body: Uint8Array<ArrayBuffer>;
}

/**
 * Begins to seal a record: draws its salt.
 *
 * @param sealed The record's bytes to be, with its clear part.
 * @returns Its key.
 */
export function beginSeal(
  key: VolumeKey,
  sealed: Uint8Array<ArrayBuffer>,
  clear: number,
  number: number,
): Uint8Array<ArrayBuffer> {
  const fields = new Fields(sealed);
  const sum = fields.u32(SUM_AT);
  markSealed(fields, true);
  sealed.set(newSalt(), clear);
  fields.setU32(clear + SEAL_SUM_AT, sum);
  return keyOf(key, sealed, clear, number);
}

/** Encrypts what stands behind the seal, once. */
export function sealBody(
  key: Uint8Array<ArrayBuffer>,
  sealed: Uint8Array<ArrayBuffer>,
  clear: number,
  body: Uint8Array<ArrayBuffer>,
): void {
  const at = clear + SEAL_BYTES;
  const tag = sealed.subarray(clear + SEAL_TAG_AT, clear + SEAL_TAG_AT + TAG_BYTES);
  const room = sealed.subarray(at, at + body.length);
  seal(key, 0, associatedOf(sealed, clear), body, room, tag);
}

/** Decrypts what stands behind the seal of a record; undefined if that is not authentic. */
export function openBody(
  key: VolumeKey,
  sealed: Uint8Array<ArrayBuffer>,
  clear: number,
  number: number,
  length: number,
): RecordSeal | undefined {
  const at = clear + SEAL_BYTES;
  if (!isSealedRecord(sealed) || sealed.length < at + length || length < 0) return undefined;
  const own = keyOf(key, sealed, clear, number);
  const body = new Uint8Array(length);
  const tag = sealed.subarray(clear + SEAL_TAG_AT, clear + SEAL_TAG_AT + TAG_BYTES);
  const isRight = unseal(
    own,
    0,
    associatedOf(sealed, clear),
    sealed.subarray(at, at + length),
    body,
    tag,
  );
  return isRight ? { key: own, body } : undefined;
}

/** Seals a whole record. */
export function sealedRecord(
  key: VolumeKey,
  record: Uint8Array<ArrayBuffer>,
  clear: number,
  number: number,
): Uint8Array<ArrayBuffer> {
  const sealed = new Uint8Array(record.length + SEAL_BYTES);
  sealed.set(record.subarray(0, clear));
  const own = beginSeal(key, sealed, clear, number);
  sealBody(own, sealed, clear, record.subarray(clear));
  sealRecord(new Fields(sealed));
  return sealed;
}

/** The record that was sealed, as it was; undefined if it is damaged, or not authentic. */
export function openedRecord(
  key: VolumeKey,
  sealed: Uint8Array<ArrayBuffer>,
  clear: number,
  number: number,
): Uint8Array<ArrayBuffer> | undefined {
  if (!hasRightSum(sealed)) return undefined;
  const length = sealed.length - clear - SEAL_BYTES;
  const opened = openBody(key, sealed, clear, number, length);
  if (opened === undefined) return undefined;
  const record = new Uint8Array(clear + length);
  record.set(sealed.subarray(0, clear));
  record.set(opened.body, clear);
  unmark(record, sealed, clear);
  return record;
}

/** Makes a record's clear part what it was before it was sealed. */
export function unmark(
  record: Uint8Array<ArrayBuffer>,
  sealed: Uint8Array<ArrayBuffer>,
  clear: number,
): void {
  const fields = new Fields(record);
  markSealed(fields, false);
  fields.setU32(SUM_AT, new Fields(sealed).u32(clear + SEAL_SUM_AT));
}
