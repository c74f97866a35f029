/**
 * The head: one small object per volume, replaced by compare-and-swap and never deleted. It names
 * the manifest that counts, and whoever may write the next one.
 *
 * ```
 *   0  record   magic "UBLKHEAD"
 *  32  nonce    16 bytes, random: no two heads have equal bytes, so none is mistaken for another
 *  48  epoch    u64: raised by each attachment
 *  56  manifest u64: the number of the manifest that counts
 *  64  sum      u32: the manifest's sum
 *  68  flags    u32: 1 attached, 2 being made: there is no manifest yet, 4 encrypted: `NAME/keys/` has
 *               the key, 8 being removed
 *  72  journal  16 bytes: the UUID of the journal that continues the manifest, or zeroes for none
 *  88  owner    16 bytes: the attachment's random id
 * 104  lease    u64: milliseconds after which an unchanged head counts as abandoned; 0 for never
 * 112  written  u64: bytes of data that had been acknowledged in all when the head was written
 * 120  time     u64: when that was, in milliseconds since 1970
 * 128  host     128 bytes of text: who has it attached
 * ```
 *
 * @module
 */

import { beginRecord, openRecord, type RecordKind, sealRecord, volumeOfRecord } from "./record.ts";

/** Bytes of a head. */
export const HEAD_BYTES = 256;
const KIND: RecordKind = { magic: "UBLKHEAD", version: 1, words: "a volume's head" };
const ATTACHED = 1;
const BEING_MADE = 2;
const ENCRYPTED = 4;
const BEING_REMOVED = 8;
const HOST_BYTES = 128;

/** The contents of a head. */
export interface Head {
  /** The volume's UUID, in 32 hexadecimal digits. */
  readonly volume: string;
  /** Random, and new in each head. */
  readonly nonce: string;
  /** The epoch: each attachment has one of its own. */
  readonly epoch: number;
  /** The number of the manifest that counts. */
  readonly manifest: number;
  /** The sum of that manifest. */
  readonly manifestSum: number;
  /** Somebody has it attached, or has died with it. */
  readonly attached: boolean;
  /**
   * It only holds the name of a volume that is being made: there is no volume yet.
   *
   * @default false
   */
  readonly beingMade?: boolean;
  /**
   * It only holds the name of a volume that is being removed: there is no volume any more.
   *
   * @default false
   */
  readonly beingRemoved?: boolean;
  /**
   * The volume is encrypted.
   *
   * @default false
   */
  readonly encrypted?: boolean;
  /** The journal that continues the manifest; `NO_UUID` for none. */
  readonly journal: string;
  /** The random id of the attachment. */
  readonly owner: string;
  /** In milliseconds; 0 for none. */
  readonly leaseMs: number;
  /** Bytes of data that had been acknowledged in all. The manifest may have fewer. */
  readonly written: number;
  /** In milliseconds since 1970. */
  readonly time: number;
  /** Who has it attached, in words. */
  readonly host: string;
}

/** A head as bytes. */
export function encodeHead(head: Head): Uint8Array<ArrayBuffer> {
  const fields = beginRecord(new Uint8Array(HEAD_BYTES), KIND, head.volume);
  fields.setUuid(32, head.nonce);
  fields.setU64(48, head.epoch);
  fields.setU64(56, head.manifest);
  fields.setU32(64, head.manifestSum);
  const attached = head.attached ? ATTACHED : 0;
  const beingMade = head.beingMade ? BEING_MADE : 0;
  const beingRemoved = head.beingRemoved ? BEING_REMOVED : 0;
  fields.setU32(68, attached | beingMade | beingRemoved | (head.encrypted ? ENCRYPTED : 0));
  fields.setUuid(72, head.journal);
  fields.setUuid(88, head.owner);
  fields.setU64(104, head.leaseMs);
  fields.setU64(112, head.written);
  fields.setU64(120, head.time);
  fields.setText(128, HOST_BYTES, head.host);
  sealRecord(fields);
  return fields.bytes;
}

/** Reads a head. @throws {FormatError} */
export function decodeHead(bytes: Uint8Array<ArrayBuffer>): Head {
  const fields = openRecord(bytes, KIND);
  return {
    volume: volumeOfRecord(fields),
    nonce: fields.uuid(32),
    epoch: fields.u64(48),
    manifest: fields.u64(56),
    manifestSum: fields.u32(64),
    attached: (fields.u32(68) & ATTACHED) !== 0,
    ...(fields.u32(68) & BEING_MADE) !== 0 ? { beingMade: true } : {},
    ...(fields.u32(68) & BEING_REMOVED) !== 0 ? { beingRemoved: true } : {},
    ...(fields.u32(68) & ENCRYPTED) !== 0 ? { encrypted: true } : {},
    journal: fields.uuid(72),
    owner: fields.uuid(88),
    leaseMs: fields.u64(104),
    written: fields.u64(112),
    time: fields.u64(120),
    host: fields.text(128, HOST_BYTES),
  };
}
