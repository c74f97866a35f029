/**
 * A connection to a client as a stream of bytes, whatever carries it, and a reader of frames.
 *
 * @module
 */

import type { Bytes } from "./frames.ts";

/** A connection. {@linkcode Deno.Conn} is one. */
export interface Link {
  /** Reads some bytes. @returns Their number; null at the end. */
  read(buffer: Bytes): Promise<number | null>;
  /** Writes some bytes. @returns Their number. */
  write(bytes: Bytes): Promise<number>;
  /** Ends it, in both directions. Reads and writes under way fail. */
  close(): void;
}

/** The client has left in the middle of a frame, or the connection has failed. */
export class LinkEnded extends Error {}

/** Bytes of the buffer: many small requests come by one read, and data is read past it. */
const BUFFER_BYTES = 128 << 10;
/** Bytes of the buffer during a handshake. It is small, because many handshakes may never end. */
const SMALL_BUFFER_BYTES = 512;

/** Reads frames of known lengths. */
export class Incoming {
  readonly #link: Link;
  #buffer: Bytes = new Uint8Array(SMALL_BUFFER_BYTES);
  #view = new DataView(this.#buffer.buffer);
  #from = 0;
  #to = 0;
  #beforeWaiting = () => {};

  constructor(link: Link) {
    this.#link = link;
  }

  /**
   * Expects many requests from now on.
   *
   * @param beforeWaiting Called each time before it waits for the client.
   */
  enlarge(beforeWaiting: () => void): void {
    const buffer = new Uint8Array(BUFFER_BYTES);
    buffer.set(this.#buffer.subarray(this.#from, this.#to));
    [this.#buffer, this.#from, this.#to] = [buffer, 0, this.#to - this.#from];
    this.#view = new DataView(buffer.buffer);
    this.#beforeWaiting = beforeWaiting;
  }

  /** Whether bytes are here that nobody has taken. */
  get hasMore(): boolean {
    return this.#to > this.#from;
  }

  /** The buffer, for the fields of a frame that {@linkcode taken} has found. */
  get view(): DataView<ArrayBuffer> {
    return this.#view;
  }

  /**
   * Takes a frame that is here in full.
   *
   * @returns Its place in {@linkcode view}, valid until the next call; -1 if not all of it is here.
   */
  taken(length: number): number {
    if (this.#to - this.#from < length) return -1;
    this.#from += length;
    return this.#from - length;
  }

  /** Takes so many bytes that are here, valid until the next call; undefined if they are not. */
  takenBytes(length: number): Bytes | undefined {
    const at = this.taken(length);
    return at < 0 ? undefined : this.#buffer.subarray(at, at + length);
  }

  /**
   * Waits until a frame is here in full. It has at most 512 bytes.
   *
   * @returns False if the client has left before its first byte.
   * @throws {LinkEnded}
   */
  async arrived(length: number): Promise<boolean> {
    if (this.#buffer.length - this.#from < length) {
      this.#buffer.copyWithin(0, this.#from, this.#to);
      [this.#from, this.#to] = [0, this.#to - this.#from];
    }
    while (this.#to - this.#from < length) {
      const count = await this.#read(this.#buffer.subarray(this.#to));
      if (count > 0) this.#to += count;
      else if (this.#to === this.#from) return false;
      else throw new LinkEnded("the client left in the middle of a header");
    }
    return true;
  }

  /**
   * Reads a frame of at most 512 bytes. It is valid until the next call.
   *
   * @returns Undefined if the client has left before its first byte.
   * @throws {LinkEnded}
   */
  async frame(length: number): Promise<Bytes | undefined> {
    return await this.arrived(length) ? this.takenBytes(length) : undefined;
  }

  /** Fills a buffer. @throws {LinkEnded} */
  async fill(target: Bytes): Promise<void> {
    let at = Math.min(target.length, this.#to - this.#from);
    target.set(this.#buffer.subarray(this.#from, this.#from + at));
    this.#from += at;
    while (at < target.length) {
      const count = await this.#read(target.subarray(at));
      if (count === 0) throw new LinkEnded("the client left in the middle of its data");
      at += count;
    }
  }

  /** Drops so many bytes. @throws {LinkEnded} */
  async skip(bytes: number): Promise<void> {
    const scratch = new Uint8Array(Math.min(bytes, BUFFER_BYTES));
    for (let left = bytes; left > 0;) {
      const part = scratch.subarray(0, Math.min(left, scratch.length));
      await this.fill(part);
      left -= part.length;
    }
  }

  async #read(target: Bytes): Promise<number> {
    this.#beforeWaiting();
    try {
      return await this.#link.read(target) ?? 0;
    } catch (error) {
      throw new LinkEnded("the connection failed", { cause: error });
    }
  }
}
