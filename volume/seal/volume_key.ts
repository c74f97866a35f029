/**
 * The data key of a volume, and the keys that are derived from it. Nothing is sealed with the data key
 * itself: each object, and each opening of the journal, has a key of its own, made from a salt that is
 * drawn for it and kept beside what it seals.
 *
 * ```
 * object   HKDF-SHA-256(data key, salt, "ublk object" · magic 8 · volume 16 · number u64)
 * journal  HKDF-SHA-256(data key, salt, "ublk journal" · volume 16 · journal 16)
 * blind    HKDF-SHA-256(data key, nothing, "ublk blind" · volume 16 · number u64 · sum u32)
 * ```
 *
 * So what was sealed as one object opens as no other, whatever it is called. The volume is the one that
 * wrote it: a clone reads its source's objects with the same data key.
 *
 * @module
 */

import { hkdfSync } from "node:crypto";
import { assert } from "../../uapi/error.ts";
import { KEY_BYTES } from "./gcm.ts";

/** Bytes of a salt. */
export const SALT_BYTES = 16;

const MAGIC_BYTES = 8;
const UUID_BYTES = 16;
const encoder = new TextEncoder();

/** A salt from the machine's randomness, whatever a simulation has for others: none comes twice. */
export function newSalt(): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(SALT_BYTES));
}

/** Derives a key. */
export function derivedKey(
  from: Uint8Array<ArrayBuffer>,
  salt: Uint8Array<ArrayBuffer>,
  info: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  return new Uint8Array(hkdfSync("sha256", from, salt, info, KEY_BYTES));
}

/** A data key. */
export class VolumeKey {
  readonly #bytes: Uint8Array<ArrayBuffer>;

  /** Takes over 32 bytes. */
  constructor(bytes: Uint8Array<ArrayBuffer>) {
    assert(bytes.length === KEY_BYTES, "a key has 32 bytes");
    this.#bytes = bytes;
  }

  /** A new one. */
  static random(): VolumeKey {
    return new VolumeKey(crypto.getRandomValues(new Uint8Array(KEY_BYTES)));
  }

  /** A key from another thread of this process. The memory is zeroed. */
  static fromShared(shared: SharedArrayBuffer): VolumeKey {
    const bytes = new Uint8Array(shared);
    const key = new VolumeKey(new Uint8Array(bytes));
    bytes.fill(0);
    return key;
  }

  /** The key for another thread of this process: memory, because a message would leave copies. */
  toShared(): SharedArrayBuffer {
    const shared = new SharedArrayBuffer(KEY_BYTES);
    new Uint8Array(shared).set(this.#bytes);
    return shared;
  }

  /** Calls a function with the bytes, which it must not keep. */
  use<T>(call: (bytes: Uint8Array<ArrayBuffer>) => T): T {
    return call(this.#bytes);
  }

  /** The key of an object, or of a clone's or an older writer's of that volume. */
  objectKey(
    magic: Uint8Array<ArrayBuffer>,
    volume: Uint8Array<ArrayBuffer>,
    number: number,
    salt: Uint8Array<ArrayBuffer>,
  ): Uint8Array<ArrayBuffer> {
    assert(magic.length === MAGIC_BYTES && volume.length === UUID_BYTES, "they are fields");
    const place = new Uint8Array(8);
    new DataView(place.buffer).setBigUint64(0, BigInt(number), true);
    return derivedKey(this.#bytes, salt, joined("ublk object", magic, volume, place));
  }

  /** The key of an opening of a journal. */
  journalKey(
    volume: string,
    journal: string,
    salt: Uint8Array<ArrayBuffer>,
  ): Uint8Array<ArrayBuffer> {
    const ids = [Uint8Array.fromHex(volume), Uint8Array.fromHex(journal)];
    return derivedKey(this.#bytes, salt, joined("ublk journal", ...ids));
  }

  /**
   * Four bytes that make the sum of a run tell nothing. They are the same for the same run: a commit that is
   * made again finds what it had put.
   */
  blindOf(volume: string, number: number, sum: number): number {
    const place = new Uint8Array(12);
    const view = new DataView(place.buffer);
    view.setBigUint64(0, BigInt(number), true);
    view.setUint32(8, sum, true);
    const info = joined("ublk blind", Uint8Array.fromHex(volume), place);
    const key = derivedKey(this.#bytes, new Uint8Array(), info);
    return new DataView(key.buffer).getUint32(0, true);
  }

  /** Zeroes it. It opens nothing any more; derived keys do. */
  [Symbol.dispose](): void {
    this.#bytes.fill(0);
  }
}

function joined(words: string, ...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const text = encoder.encode(words);
  const bytes = new Uint8Array(text.length + parts.reduce((sum, part) => sum + part.length, 0));
  bytes.set(text);
  let at = text.length;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
