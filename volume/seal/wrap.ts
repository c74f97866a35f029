/**
 * Wraps a data key: encrypts it with a key that is made from the one that somebody keeps.
 *
 * ```
 * of a key         HKDF-SHA-256(key, salt, "ublk wrap")
 * of a passphrase  scrypt(passphrase, salt, N, r, p)
 * ```
 *
 * The salt is new in each record, so each wrapping key seals once, with count 0.
 *
 * @module
 */

import { scryptSync } from "node:crypto";
import { keyAssociated, type KeyRecord, type ScryptCost } from "../format/key.ts";
import { KEY_BYTES, seal, TAG_BYTES, unseal } from "./gcm.ts";
import type { KeptKey } from "./key_source.ts";
import { derivedKey, VolumeKey } from "./volume_key.ts";

/** Of a new passphrase: 128 MiB of memory, and most of a second. */
export const SCRYPT_COST: ScryptCost = { log2N: 17, r: 8, p: 1 };
const SALT_BYTES = 32;
const INFO = new TextEncoder().encode("ublk wrap");

/** The key that a data key is encrypted with. */
export function wrappingKey(
  { bytes, isPassphrase }: KeptKey,
  salt: Uint8Array<ArrayBuffer>,
  cost: ScryptCost | undefined,
): Uint8Array<ArrayBuffer> {
  if (!isPassphrase || cost === undefined) return derivedKey(bytes, salt, INFO);
  const { log2N, r, p } = cost;
  const N = 2 ** log2N;
  // The default is a quarter of what is needed.
  const maxmem = 2 * 128 * N * r;
  return new Uint8Array(scryptSync(bytes, salt, KEY_BYTES, { N, r, p, maxmem }));
}

/** Wraps a data key. @param salt For known answers. @default Random */
export function wrapKey(
  key: VolumeKey,
  volume: string,
  kept: KeptKey,
  salt: Uint8Array<ArrayBuffer> = crypto.getRandomValues(new Uint8Array(SALT_BYTES)),
): KeyRecord {
  const cost = kept.isPassphrase ? SCRYPT_COST : undefined;
  const wrapping = wrappingKey(kept, salt, cost);
  const sealed = new Uint8Array(KEY_BYTES);
  const tag = new Uint8Array(TAG_BYTES);
  key.use((bytes) => seal(wrapping, 0, keyAssociated({ volume, cost, salt }), bytes, sealed, tag));
  wrapping.fill(0);
  return { volume, cost, salt, sealed, tag };
}

/** Unwraps a data key; undefined if it was wrapped with another key. */
export function unwrapKey(record: KeyRecord, kept: KeptKey): VolumeKey | undefined {
  if (kept.isPassphrase !== (record.cost !== undefined)) return undefined;
  const wrapping = wrappingKey(kept, record.salt, record.cost);
  const bytes = new Uint8Array(KEY_BYTES);
  const isRight = unseal(wrapping, 0, keyAssociated(record), record.sealed, bytes, record.tag);
  wrapping.fill(0);
  return isRight ? new VolumeKey(bytes) : undefined;
}
