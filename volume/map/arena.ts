/**
 * Where a large map's pieces of memory lie: side by side, in huge pages.
 *
 * A lookup in a large map waits for memory, and with pages of 4 KiB half of that is the search for the
 * page (`docs/benchmarks.md`). Huge pages need 2 MiB side by side. An arena is an ArrayBuffer, so it
 * goes when its map goes. The kernel gives it memory only where it is touched.
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";
import { addressOf } from "../../uring/libc.ts";
import { adviseHugePages, discardPages, HUGE_PAGE_BYTES } from "../../uring/mapping.ts";

/**
 * Bytes of an arena. libc maps more than 32 MiB afresh, whatever was freed before. Less may be memory
 * that was used, which it would clear all at once.
 */
const ARENA_BYTES = 34 << 20;

assert(ARENA_BYTES > 32 << 20, "libc maps it");

/** Pieces of one size. */
export class Arena {
  readonly #bytes: number;
  readonly #vacant: Int32Array<ArrayBuffer>[] = [];

  /** Takes no memory yet. */
  constructor(words: number) {
    this.#bytes = words * Int32Array.BYTES_PER_ELEMENT;
    assert(HUGE_PAGE_BYTES % this.#bytes === 0, "no piece is in two huge pages");
  }

  /** Takes a piece. Its words are 0. */
  take(): Int32Array<ArrayBuffer> {
    if (this.#vacant.length === 0) this.#grow();
    return this.#vacant.pop()!;
  }

  /** Gives a piece back, and its memory to the kernel. */
  give(piece: Int32Array<ArrayBuffer>): void {
    discardPages(Number(addressOf(piece)), piece.byteLength);
    this.#vacant.push(piece);
  }

  #grow(): void {
    const memory = new ArrayBuffer(ARENA_BYTES);
    const address = Number(addressOf(new Uint8Array(memory)));
    const skipped = Math.ceil(address / HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES - address;
    const pages = Math.floor((ARENA_BYTES - skipped) / HUGE_PAGE_BYTES);
    adviseHugePages(address + skipped, pages * HUGE_PAGE_BYTES);
    const words = this.#bytes / Int32Array.BYTES_PER_ELEMENT;
    // The lowest is taken first.
    for (let at = pages * HUGE_PAGE_BYTES; at > 0;) {
      at -= this.#bytes;
      this.#vacant.push(new Int32Array(memory, skipped + at, words));
    }
  }
}
