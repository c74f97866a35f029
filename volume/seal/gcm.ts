/**
 * AES-256-GCM with nonces that are counts. A key here is always a derived one (`volume_key.ts`), made
 * from a salt that was drawn for one object, or for one opening of the journal: so a count that begins
 * anew with each key is never used twice with one.
 *
 * ```
 * nonce, 12 bytes:  0 count u64, little-endian · 8 zeroes
 * ```
 *
 * @module
 */

import { createCipheriv, createDecipheriv } from "node:crypto";
import { assert } from "../../uapi/error.ts";
import { TAG_BYTES } from "../format/seal.ts";
import { type GcmLibrary, openLibcrypto } from "../../uring/libcrypto.ts";

/** Bytes of a key. */
export const KEY_BYTES = 32;
export { TAG_BYTES } from "../format/seal.ts";

const NONCE_BYTES = 12;
const TWO_32 = 0x1_0000_0000;
const CIPHER = "aes-256-gcm";
/** The tag of nothing with a key and a nonce of zeroes: NIST's test 13. */
const KNOWN_TAG = "530f8afbc74536b9a963b4f1c4cb738b";

/** Sees each sealing of this thread: tests look whether a key has sealed twice by one count. */
export type SealWatch = (key: Uint8Array, count: number) => void;

let watch: SealWatch | undefined;
let machine: GcmLibrary | undefined;
let library: GcmLibrary | undefined;
const nonce = new Uint8Array(NONCE_BYTES);
const words = new Uint32Array(nonce.buffer);

/** For tests: calls a function at each sealing. @param call Undefined for nobody. */
export function watchSeals(call: SealWatch | undefined): void {
  watch = call;
}

/**
 * For test suites, outside any test: opens the library, which stays open. Deno's sanitizer takes that
 * for a leak of the test that seals first.
 *
 * @param isThere Whether to do as if it was on this machine.
 */
export function openCipher(isThere = true): void {
  library = isThere ? ofMachine() : NODE;
}

/** The machine's library, opened once; another one of that name, with other answers, is none. */
function ofMachine(): GcmLibrary {
  if (machine !== undefined) return machine;
  const found = openLibcrypto() ?? NODE;
  const [key, none, tag] = [KEY_BYTES, 0, TAG_BYTES].map((bytes) => new Uint8Array(bytes));
  found.seal(key, new Uint8Array(NONCE_BYTES), undefined, none, none, tag);
  return machine = tag.toHex() === KNOWN_TAG ? found : NODE;
}

function setNonce(count: number): void {
  words[0] = count >>> 0;
  words[1] = count / TWO_32;
}

/**
 * Encrypts.
 *
 * @param key Compared by identity: its bytes must not change.
 * @param count Different in each call with the key.
 * @param associated What is authenticated too; undefined for nothing.
 * @param to As long as `from`; may be the same memory.
 * @param tag Room for 16 bytes.
 */
export function seal(
  key: Uint8Array<ArrayBuffer>,
  count: number,
  associated: Uint8Array<ArrayBuffer> | undefined,
  from: Uint8Array<ArrayBuffer>,
  to: Uint8Array<ArrayBuffer>,
  tag: Uint8Array<ArrayBuffer>,
): void {
  assert(Number.isSafeInteger(count) && count >= 0, "a count is a whole number");
  watch?.(key, count);
  setNonce(count);
  (library ??= ofMachine()).seal(key, nonce, associated, from, to, tag);
}

/**
 * Decrypts.
 *
 * @returns Whether key, count, associated data and tag fit; otherwise `to` holds zeroes.
 */
export function unseal(
  key: Uint8Array<ArrayBuffer>,
  count: number,
  associated: Uint8Array<ArrayBuffer> | undefined,
  from: Uint8Array<ArrayBuffer>,
  to: Uint8Array<ArrayBuffer>,
  tag: Uint8Array<ArrayBuffer>,
): boolean {
  setNonce(count);
  library ??= ofMachine();
  const isRight = library.open(key, nonce, associated, from, to, tag);
  // Nobody shall work with what is not authentic, even by mistake.
  if (!isRight) to.fill(0);
  return isRight;
}

/** The way without a library. */
const NODE: GcmLibrary = {
  seal(key, nonce, associated, from, to, tag) {
    const cipher = createCipheriv(CIPHER, key, nonce);
    if (associated !== undefined) cipher.setAAD(associated);
    to.set(cipher.update(from));
    cipher.final();
    tag.set(cipher.getAuthTag());
  },
  open(key, nonce, associated, from, to, tag) {
    const decipher = createDecipheriv(CIPHER, key, nonce);
    if (associated !== undefined) decipher.setAAD(associated);
    decipher.setAuthTag(tag);
    const bytes = decipher.update(from);
    try {
      decipher.final();
    } catch {
      return false;
    }
    to.set(bytes);
    return true;
  },
};
