/**
 * The beginning that all objects and headers share, and their fields. All numbers are little-endian.
 *
 * ```
 *  0  magic    8 bytes of ASCII: the kind
 *  8  version  u32
 * 12  sum      u32: CRC-32 of everything that the sum covers, with this field as 0
 * 16  volume   16 bytes: the volume's UUID
 * ```
 *
 * A reader checks all four, in an order that tells the faults apart: what does not begin with the
 * magic is something else; a newer version is refused by its name; then the sum must be right; and a
 * whole object of another volume is not this volume's.
 *
 * A sealed record has its version with the bit {@linkcode SEALED}: see `volume/seal/records.ts`.
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";
import { sumOf } from "./sum.ts";

/** Bytes of the beginning that all kinds share. */
export const RECORD_BYTES = 32;
const VERSION_AT = 8;
const SUM_AT = 12;
const VOLUME_AT = 16;
const UUID_BYTES = 16;

/** A bit of the version of a record whose contents are encrypted. */
export const SEALED = 0x1_0000;
/** Never written: set in the version of a record that should open with the volume's key, and did not. */
const UNOPENED = 0x2_0000;

/** Bytes that are not what they should be. The words say what is wrong, without the place. */
export class FormatError extends Error {
  /** Always `"FormatError"`. */
  override readonly name: string = "FormatError";
}

/** A record is of a format that a later version of ublk writes. */
export class NewerFormatError extends FormatError {
  /** Always `"NewerFormatError"`. */
  override readonly name = "NewerFormatError";
}

/** A record is sealed, and there is no key. */
export class SealedError extends FormatError {
  /** Always `"SealedError"`. */
  override readonly name = "SealedError";
}

/** A kind of object or header. */
export interface RecordKind {
  /** Eight characters of ASCII. */
  readonly magic: string;
  /** The version that is written, and the newest that is read. */
  readonly version: number;
  /** The kind in words, for errors: "a manifest". */
  readonly words: string;
}

/** Fields of a record, by offset. 64-bit numbers are at most 2^53 - 1. */
export class Fields {
  /** All bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView<ArrayBuffer>;

  /** Fields in these bytes. */
  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Reads 32 bits. */
  u32(at: number): number {
    return this.#view.getUint32(at, true);
  }

  /** Writes 32 bits. */
  setU32(at: number, value: number): void {
    assert(Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff, "it fits 32 bits");
    this.#view.setUint32(at, value, true);
  }

  /** Reads 64 bits. @throws {FormatError} if the number is too large for JavaScript. */
  u64(at: number): number {
    const value = this.u32(at) + this.u32(at + 4) * 0x1_0000_0000;
    if (!Number.isSafeInteger(value)) throw new FormatError("a number is out of range");
    return value;
  }

  /** Writes 64 bits. */
  setU64(at: number, value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, "it is a whole number");
    this.#view.setUint32(at, value % 0x1_0000_0000, true);
    this.#view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
  }

  /** Reads a UUID, as hexadecimal digits. */
  uuid(at: number): string {
    return this.bytes.subarray(at, at + UUID_BYTES).toHex();
  }

  /** Writes a UUID. */
  setUuid(at: number, uuid: string): void {
    assert(uuid.length === UUID_BYTES * 2, "a UUID has 32 digits");
    this.bytes.set(Uint8Array.fromHex(uuid), at);
  }

  /** Reads text that zeroes fill up. */
  text(at: number, length: number): string {
    const bytes = this.bytes.subarray(at, at + length);
    const end = bytes.indexOf(0);
    return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
  }

  /** Writes text, cut to the length and filled up with zeroes. */
  setText(at: number, length: number, text: string): void {
    const target = this.bytes.subarray(at, at + length).fill(0);
    new TextEncoder().encodeInto(text, target);
  }
}

/** No UUID: none is all zeroes. */
export const NO_UUID = "0".repeat(UUID_BYTES * 2);

/** Begins a record of a kind in zeroed bytes. */
export function beginRecord(
  bytes: Uint8Array<ArrayBuffer>,
  kind: RecordKind,
  volume: string,
): Fields {
  assert(kind.magic.length === 8, "a magic has eight characters");
  const fields = new Fields(bytes);
  fields.setText(0, 8, kind.magic);
  fields.setU32(VERSION_AT, kind.version);
  fields.setU32(SUM_AT, 0);
  fields.setUuid(VOLUME_AT, volume);
  return fields;
}

/** Writes the sum over all bytes of a record. @returns The sum. */
export function sealRecord(fields: Fields): number {
  fields.setU32(SUM_AT, 0);
  const sum = sumOf(fields.bytes);
  fields.setU32(SUM_AT, sum);
  return sum;
}

/** Whether the contents of a record are encrypted. */
export function isSealedRecord(bytes: Uint8Array<ArrayBuffer>): boolean {
  return bytes.length >= RECORD_BYTES && (new Fields(bytes).u32(VERSION_AT) & SEALED) !== 0;
}

/** The error of a record that the volume's key does not open. */
export function notOpened(words: string): FormatError {
  return new FormatError(
    `the volume's key does not open it: ${words} was changed, exchanged, or never sealed`,
  );
}

/** Sets whether a record's version says that it is sealed. */
export function markSealed(fields: Fields, isSealed: boolean): void {
  const version = fields.u32(VERSION_AT);
  fields.setU32(VERSION_AT, isSealed ? version | SEALED : version & ~SEALED);
}

/** A copy of bytes that no decoder takes: the key does not open them, or nobody has sealed them. */
export function unopenedRecord(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const copy = bytes.slice();
  if (copy.length >= RECORD_BYTES) new Fields(copy).setU32(VERSION_AT, UNOPENED);
  return copy;
}

/**
 * Checks magic and version, for readers that must know the length before they know the sum.
 *
 * @param mayBeSealed Only what stands in the clear will be read.
 * @throws {FormatError}
 */
export function peekRecord(
  bytes: Uint8Array<ArrayBuffer>,
  kind: RecordKind,
  mayBeSealed = false,
): Fields {
  const { words, magic, version } = kind;
  if (bytes.length < RECORD_BYTES) throw new FormatError(`it is too short for ${words}`);
  const fields = new Fields(bytes);
  if (fields.text(0, 8) !== magic) throw new FormatError(`it is not ${words}`);
  const whole = fields.u32(VERSION_AT);
  if (whole === UNOPENED) throw notOpened(words);
  checkNotSealed(fields, kind, mayBeSealed);
  const found = whole & ~SEALED;
  if (found > version) {
    throw new NewerFormatError(
      `it is ${words} of format ${found}, and this version of ublk knows up to ${version}`,
    );
  }
  if (found === 0) throw new FormatError(`it is ${words} without a version`);
  return fields;
}

function checkNotSealed(fields: Fields, { words }: RecordKind, mayBeSealed: boolean): void {
  const isSealed = (fields.u32(VERSION_AT) & SEALED) !== 0;
  if (isSealed && !mayBeSealed) throw new SealedError(`${words} is encrypted`);
}

/**
 * Checks a whole record.
 *
 * @param volume The volume's UUID; undefined takes any.
 * @param mayBeSealed Only what stands in the clear will be read.
 * @throws {FormatError}
 */
export function openRecord(
  bytes: Uint8Array<ArrayBuffer>,
  kind: RecordKind,
  volume?: string,
  mayBeSealed = false,
): Fields {
  const fields = peekRecord(bytes, kind, true);
  if (!hasRightSum(bytes)) {
    throw new FormatError(`its checksum is wrong: ${kind.words} is damaged`);
  }
  // Only then: one flipped bit had a volume without a key ask for one.
  checkNotSealed(fields, kind, mayBeSealed);
  const found = fields.uuid(VOLUME_AT);
  if (volume !== undefined && found !== volume) {
    throw new FormatError(`it is ${kind.words} of another volume (${found})`);
  }
  return fields;
}

/** Whether the sum of a record's bytes is the one that it has. */
export function hasRightSum(bytes: Uint8Array<ArrayBuffer>): boolean {
  if (bytes.length < RECORD_BYTES) return false;
  const fields = new Fields(bytes);
  const sum = fields.u32(SUM_AT);
  // The sum is not part of what it covers. Whoever gave the bytes gets them back unchanged.
  fields.setU32(SUM_AT, 0);
  const right = sumOf(bytes);
  fields.setU32(SUM_AT, sum);
  return right === sum;
}

/** A copy of a record's bytes of which every decoder says that they are damaged. */
export function sumAsWrong(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const copy = bytes.slice();
  const fields = new Fields(copy);
  fields.setU32(SUM_AT, ~fields.u32(SUM_AT) >>> 0);
  return copy;
}

/** The sum of a record that was sealed or opened. */
export function sumOfRecord(fields: Fields): number {
  return fields.u32(SUM_AT);
}

/** The sum that an object begins with. It is to be checked before. */
export function sumOfObject(bytes: Uint8Array<ArrayBuffer>): number {
  return new Fields(bytes).u32(SUM_AT);
}

/** The version of a record's format, sealed or not. */
export function versionOfRecord(fields: Fields): number {
  return fields.u32(VERSION_AT) & ~SEALED;
}

/** Gives a record another version of its format, not sealed. */
export function setVersion(fields: Fields, version: number): void {
  fields.setU32(VERSION_AT, version);
}

/** The volume of a record. */
export function volumeOfRecord(fields: Fields): string {
  return fields.uuid(VOLUME_AT);
}
