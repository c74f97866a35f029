/**
 * The key of an encrypted volume: its data key, encrypted with a key that somebody keeps. It is the
 * only object that `rekey` replaces.
 *
 * ```
 *   0  record  magic "UBLKKEYS", 128 bytes
 *  32  kind    u32: 1 made from a key, 2 from a passphrase
 *  36  log2 N  u32: of scrypt; 0 for a key
 *  40  r       u32
 *  44  p       u32
 *  48  salt    32 bytes, random and new in each
 *  80  key     32 bytes: the data key, encrypted
 * 112  tag     16 bytes
 * ```
 *
 * @module
 */

import { beginRecord, type Fields, openRecord, type RecordKind, sealRecord } from "./record.ts";
import { FormatError, volumeOfRecord } from "./record.ts";

const KIND: RecordKind = { magic: "UBLKKEYS", version: 1, words: "a volume's key" };
const BYTES = 128;
const SALT_AT = 48;
const SALT_BYTES = 32;
const KEY_AT = 80;
const TAG_AT = 112;
/** The costs of scrypt that are taken: a key that somebody has changed must not use up the memory. */
const MOST_COST = { log2N: 20, r: 8, p: 4 };

/** The costs of scrypt. */
export interface ScryptCost {
  /** Its N is 2 to the power of this. */
  readonly log2N: number;
  /** The size of its blocks. */
  readonly r: number;
  /** How often it is done. */
  readonly p: number;
}

/** A key, as it is stored. */
export interface KeyRecord {
  /** The volume's UUID. */
  readonly volume: string;
  /** The costs of scrypt for a passphrase; undefined for a key. */
  readonly cost: ScryptCost | undefined;
  /** 32 bytes. */
  readonly salt: Uint8Array<ArrayBuffer>;
  /** The data key, encrypted. */
  readonly sealed: Uint8Array<ArrayBuffer>;
  /** The tag. */
  readonly tag: Uint8Array<ArrayBuffer>;
}

/** Bytes of a key's record. */
export const KEY_RECORD_BYTES = BYTES;

/** A key as bytes. */
export function encodeKey(record: KeyRecord): Uint8Array<ArrayBuffer> {
  const fields = begun(record);
  fields.bytes.set(record.sealed, KEY_AT);
  fields.bytes.set(record.tag, TAG_AT);
  sealRecord(fields);
  return fields.bytes;
}

/** What is authenticated with the data key: everything before it, with the sum as 0. */
export function keyAssociated(
  record: Pick<KeyRecord, "volume" | "cost" | "salt">,
): Uint8Array<ArrayBuffer> {
  return begun(record).bytes.slice(0, KEY_AT);
}

function begun({ volume, cost, salt }: Pick<KeyRecord, "volume" | "cost" | "salt">): Fields {
  const fields = beginRecord(new Uint8Array(BYTES), KIND, volume);
  fields.setU32(32, cost === undefined ? 1 : 2);
  fields.setU32(36, cost?.log2N ?? 0);
  fields.setU32(40, cost?.r ?? 0);
  fields.setU32(44, cost?.p ?? 0);
  fields.bytes.set(salt, SALT_AT);
  return fields;
}

/** Reads a key. @throws {FormatError} */
export function decodeKey(bytes: Uint8Array<ArrayBuffer>, volume?: string): KeyRecord {
  const fields = openRecord(bytes, KIND, volume);
  if (bytes.length !== BYTES) throw new FormatError("its length is not a key's");
  const kind = fields.u32(32);
  const cost = { log2N: fields.u32(36), r: fields.u32(40), p: fields.u32(44) };
  const isCheap = cost.log2N >= 1 && cost.log2N <= MOST_COST.log2N &&
    cost.r >= 1 && cost.r <= MOST_COST.r && cost.p >= 1 && cost.p <= MOST_COST.p;
  if (kind !== 1 && (kind !== 2 || !isCheap)) {
    throw new FormatError(`it is a key of kind ${kind}, or its costs are out of bounds`);
  }
  return {
    volume: volumeOfRecord(fields),
    cost: kind === 1 ? undefined : cost,
    salt: bytes.slice(SALT_AT, SALT_AT + SALT_BYTES),
    sealed: bytes.slice(KEY_AT, TAG_AT),
    tag: bytes.slice(TAG_AT, BYTES),
  };
}
