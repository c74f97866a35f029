/**
 * The buffers of one connection, which are used again: new ones of 256 KiB cost more time, in pages to
 * map and to clear, than all else of a request.
 *
 * @module
 */

import { ETIMEDOUT } from "../uapi/errno.ts";
import type { Bytes } from "./frames.ts";
import { PIECE_BYTES } from "./memory.ts";

/** Most buffers that are kept: a search among them stays short. */
const MOST_KEPT = 64;

/** Buffers that are lent to a disk. */
export class Buffers {
  readonly #kept: Bytes[] = [];
  #keptBytes = 0;

  /** A buffer of exactly so many bytes. It may hold data of an earlier request of the connection. */
  get(length: number): Bytes {
    const nth = this.#kept.findLastIndex((buffer) => buffer.length === length);
    if (nth < 0) return new Uint8Array(length);
    this.#keptBytes -= length;
    return this.#kept.splice(nth, 1)[0];
  }

  /**
   * Takes back a buffer, and keeps it as long as all of them are no more than a piece.
   *
   * @param result The disk's answer. After a deadline it may use the buffer still.
   */
  put(buffer: Bytes, result: number): void {
    if (result === -ETIMEDOUT) return;
    this.#kept.push(buffer);
    this.#keptBytes += buffer.length;
    // The oldest are of a size that the client uses no more.
    while (this.#keptBytes > PIECE_BYTES || this.#kept.length > MOST_KEPT) {
      this.#keptBytes -= this.#kept.shift()!.length;
    }
  }
}
