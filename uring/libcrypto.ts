/**
 * AES-256-GCM of OpenSSL's `libcrypto`, called directly: 4 KiB cost 1.3 µs, and 31 µs by `node:crypto`
 * (Deno 2.9). It is on nearly every machine, but not in every container: whoever calls needs another
 * way (`volume/seal/gcm.ts`).
 *
 * Beside `libc.ts` this is the only file that opens a library. The address of its two contexts is all
 * that it knows of OpenSSL's memory.
 *
 * @module
 */

import { assert } from "../uapi/error.ts";

const SYMBOLS = {
  EVP_aes_256_gcm: { parameters: [], result: "pointer" },
  EVP_CIPHER_CTX_new: { parameters: [], result: "pointer" },
  // EVP_CipherInit_ex(ctx, cipher, engine, key, iv, encrypts): what is NULL stays as it was.
  init: {
    name: "EVP_CipherInit_ex",
    parameters: ["pointer", "pointer", "pointer", "buffer", "pointer", "i32"],
    result: "i32",
  },
  setIv: {
    name: "EVP_CipherInit_ex",
    parameters: ["pointer", "pointer", "pointer", "pointer", "buffer", "i32"],
    result: "i32",
  },
  // EVP_CipherUpdate(ctx, out, &written, in, length). With `out` NULL: associated data.
  update: {
    name: "EVP_CipherUpdate",
    parameters: ["pointer", "buffer", "buffer", "buffer", "i32"],
    result: "i32",
  },
  associate: {
    name: "EVP_CipherUpdate",
    parameters: ["pointer", "pointer", "buffer", "buffer", "i32"],
    result: "i32",
  },
  EVP_CipherFinal_ex: { parameters: ["pointer", "buffer", "buffer"], result: "i32" },
  EVP_CIPHER_CTX_ctrl: { parameters: ["pointer", "i32", "i32", "buffer"], result: "i32" },
} as const;

type Libcrypto = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

const LIBRARY = "libcrypto.so.3";
// From openssl/evp.h.
const EVP_CTRL_AEAD_GET_TAG = 0x10;
const EVP_CTRL_AEAD_SET_TAG = 0x11;

/** Bytes of a key. */
const KEY_BYTES = 32;
/** Bytes of a nonce. */
const NONCE_BYTES = 12;
/** Bytes of a tag. */
const TAG_BYTES = 16;

/** A cipher of this thread. */
export interface GcmLibrary {
  /** Encrypts `from` into `to`, which may be the same, and writes the tag. */
  seal(
    key: Uint8Array<ArrayBuffer>,
    nonce: Uint8Array<ArrayBuffer>,
    associated: Uint8Array<ArrayBuffer> | undefined,
    from: Uint8Array<ArrayBuffer>,
    to: Uint8Array<ArrayBuffer>,
    tag: Uint8Array<ArrayBuffer>,
  ): void;
  /** Decrypts. @returns Whether the tag is right; otherwise `to` holds garbage. */
  open(
    key: Uint8Array<ArrayBuffer>,
    nonce: Uint8Array<ArrayBuffer>,
    associated: Uint8Array<ArrayBuffer> | undefined,
    from: Uint8Array<ArrayBuffer>,
    to: Uint8Array<ArrayBuffer>,
    tag: Uint8Array<ArrayBuffer>,
  ): boolean;
}

/** Opens the library for this thread; undefined if there is none. */
export function openLibcrypto(): GcmLibrary | undefined {
  let library: Libcrypto;
  try {
    library = Deno.dlopen(LIBRARY, SYMBOLS).symbols;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return undefined;
  }
  return new Contexts(library);
}

/** One direction: a context, and the key that it has. */
interface Direction {
  readonly context: Deno.PointerValue;
  key: Uint8Array | undefined;
}

class Contexts implements GcmLibrary {
  readonly #library: Libcrypto;
  readonly #seals: Direction;
  readonly #opens: Direction;
  readonly #written = new Int32Array(1);
  readonly #rest = new Uint8Array(16);

  constructor(library: Libcrypto) {
    this.#library = library;
    this.#seals = this.#direction(1);
    this.#opens = this.#direction(0);
  }

  #direction(encrypts: number): Direction {
    const { EVP_aes_256_gcm, EVP_CIPHER_CTX_new, init } = this.#library;
    const context = EVP_CIPHER_CTX_new();
    assert(context !== null, "OpenSSL has memory for a context");
    const none = new Uint8Array(KEY_BYTES);
    assert(init(context, EVP_aes_256_gcm(), null, none, null, encrypts) === 1, "it knows AES-GCM");
    return { context, key: undefined };
  }

  /** Sets key and nonce, and takes what is only authenticated. */
  #begin(
    direction: Direction,
    encrypts: number,
    key: Uint8Array<ArrayBuffer>,
    nonce: Uint8Array<ArrayBuffer>,
    associated: Uint8Array<ArrayBuffer> | undefined,
  ): void {
    assert(key.length === KEY_BYTES && nonce.length === NONCE_BYTES, "key and nonce fit");
    const { init, setIv, associate } = this.#library;
    const { context } = direction;
    if (direction.key !== key) {
      assert(init(context, null, null, key, null, encrypts) === 1, "a key is taken");
      direction.key = key;
    }
    assert(setIv(context, null, null, null, nonce, encrypts) === 1, "a nonce is taken");
    if (associated === undefined) return;
    const { length } = associated;
    assert(associate(context, null, this.#written, associated, length) === 1, "it is taken");
  }

  seal(
    key: Uint8Array<ArrayBuffer>,
    nonce: Uint8Array<ArrayBuffer>,
    associated: Uint8Array<ArrayBuffer> | undefined,
    from: Uint8Array<ArrayBuffer>,
    to: Uint8Array<ArrayBuffer>,
    tag: Uint8Array<ArrayBuffer>,
  ): void {
    assert(from.length === to.length && tag.length === TAG_BYTES, "what comes has room");
    const { context } = this.#seals;
    const { update, EVP_CipherFinal_ex, EVP_CIPHER_CTX_ctrl } = this.#library;
    this.#begin(this.#seals, 1, key, nonce, associated);
    const isSealed = update(context, to, this.#written, from, from.length) === 1 &&
      EVP_CipherFinal_ex(context, this.#rest, this.#written) === 1 &&
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, tag) === 1;
    assert(isSealed, "OpenSSL encrypts");
  }

  open(
    key: Uint8Array<ArrayBuffer>,
    nonce: Uint8Array<ArrayBuffer>,
    associated: Uint8Array<ArrayBuffer> | undefined,
    from: Uint8Array<ArrayBuffer>,
    to: Uint8Array<ArrayBuffer>,
    tag: Uint8Array<ArrayBuffer>,
  ): boolean {
    assert(from.length === to.length && tag.length === TAG_BYTES, "what comes has room");
    const { context } = this.#opens;
    const { update, EVP_CipherFinal_ex, EVP_CIPHER_CTX_ctrl } = this.#library;
    this.#begin(this.#opens, 0, key, nonce, associated);
    const isRead = update(context, to, this.#written, from, from.length) === 1 &&
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) === 1;
    assert(isRead, "OpenSSL decrypts");
    return EVP_CipherFinal_ex(context, this.#rest, this.#written) === 1;
  }
}
