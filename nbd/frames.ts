/**
 * The frames of the handshake, and the fields of all frames: from bytes to values and back, without any
 * state.
 *
 * ```
 *   option          IHAVEOPT:8  option:4  length:4  data:length
 *   option's reply  magic:8  option:4  type:4  length:4  data:length
 * ```
 *
 * @module
 */

import {
  NBD_INIT_MAGIC,
  NBD_MAX_STRING,
  NBD_OPTION_MAGIC,
  NBD_OPTION_REPLY_MAGIC,
} from "./protocol.ts";

/** Bytes of a frame. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** Bytes of an option's header. */
export const OPTION_HEADER_BYTES = 16;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** Writes fields one after the other. */
export class FrameWriter {
  readonly bytes: Bytes;
  readonly #view: DataView<ArrayBuffer>;
  #at = 0;

  /** @param length The frame's length in bytes. */
  constructor(length: number) {
    this.bytes = new Uint8Array(length);
    this.#view = new DataView(this.bytes.buffer);
  }

  u16(value: number): this {
    this.#view.setUint16(this.#at, value);
    this.#at += 2;
    return this;
  }

  u32(value: number): this {
    this.#view.setUint32(this.#at, value);
    this.#at += 4;
    return this;
  }

  u64(value: number | bigint): this {
    this.#view.setBigUint64(this.#at, BigInt(value));
    this.#at += 8;
    return this;
  }

  raw(bytes: Uint8Array): this {
    this.bytes.set(bytes, this.#at);
    this.#at += bytes.length;
    return this;
  }
}

/** A frame that lies about a length, or a text that is none. */
export class FrameError extends Error {}

/** The client broke the protocol; the text says how. Its connection ends. */
export class ProtocolError extends Error {}

/** Reads fields one after the other. Throws a {@linkcode FrameError} past the end. */
export class FrameReader {
  readonly #bytes: Bytes;
  readonly #view: DataView<ArrayBuffer>;
  #at = 0;

  constructor(bytes: Bytes) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  #take(length: number): number {
    const at = this.#at;
    if (length > this.#bytes.length - at) {
      throw new FrameError(`a field of ${length} bytes has only ${this.#bytes.length - at}`);
    }
    this.#at += length;
    return at;
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2));
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4));
  }

  /** A text with its length before it. */
  text(): string {
    return this.textOf(this.u32());
  }

  /** A text of so many bytes. */
  textOf(length: number): string {
    if (length > NBD_MAX_STRING) {
      throw new FrameError(`a text of ${length} bytes; the protocol has ${NBD_MAX_STRING} at most`);
    }
    const at = this.#take(length);
    try {
      return decoder.decode(this.#bytes.subarray(at, at + length));
    } catch {
      throw new FrameError("a text is not UTF-8");
    }
  }

  /** Throws if bytes are left over. */
  end(): void {
    const left = this.#bytes.length - this.#at;
    if (left > 0) throw new FrameError(`${left} bytes too many`);
  }
}

/** A text as bytes, cut to what the protocol allows. */
export function textBytes(text: string): Bytes {
  const bytes = new Uint8Array(NBD_MAX_STRING);
  // Unlike a cut of bytes, this does not cut a character in two.
  return bytes.subarray(0, encoder.encodeInto(text, bytes).written);
}

/** The first frame of a connection, from the server. */
export function greeting(flags: number): Bytes {
  return new FrameWriter(18).u64(NBD_INIT_MAGIC).u64(NBD_OPTION_MAGIC).u16(flags).bytes;
}

/** The header of an option. */
export interface OptionHeader {
  /** `NBD_OPT_*`. */
  readonly option: number;
  /** Bytes of its data. */
  readonly length: number;
}

/** Decodes an option's header; undefined if its magic is wrong. */
export function optionHeader(bytes: Bytes): OptionHeader | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getBigUint64(0) !== NBD_OPTION_MAGIC) return undefined;
  return { option: view.getUint32(8), length: view.getUint32(12) };
}

/** A reply to an option. */
export function optionReply(option: number, type: number, data: Uint8Array = NO_BYTES): Bytes {
  return new FrameWriter(20 + data.length)
    .u64(NBD_OPTION_REPLY_MAGIC).u32(option).u32(type).u32(data.length).raw(data).bytes;
}

const NO_BYTES = new Uint8Array(0);
