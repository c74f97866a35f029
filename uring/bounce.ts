/**
 * Memory that stands in for arrays which JavaScript may move or collect: the kernel gets its
 * address, and the bytes are copied.
 *
 * @module
 */

import { Mapping, pageBytes } from "./mapping.ts";

/** The most bytes that a pool keeps for the next operations. */
const KEPT_BYTES = 4 << 20;

/** A buffer of a pool. */
export interface Bounce {
  /** Its address. */
  readonly address: number;
  /** Its bytes: at least as many as were asked for. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The mapping that it is all of. The pool's. */
  readonly mapping: Mapping;
}

/** Buffers of powers of two, of which some are kept: mapping one costs as much as a read. */
export class BouncePool implements Disposable {
  readonly #free = new Map<number, Bounce[]>();
  #keptBytes = 0;
  #closed = false;

  /** Bytes that nobody uses at the moment, at most 4 MiB. */
  get keptBytes(): number {
    return this.#keptBytes;
  }

  /**
   * A buffer of at least `bytes`, with anything in it.
   *
   * @throws {UblkError} `MEMORY_LIMIT`.
   */
  take(bytes: number): Bounce {
    let size = pageBytes();
    while (size < bytes) size *= 2;
    const kept = this.#free.get(size)?.pop();
    if (kept !== undefined) {
      this.#keptBytes -= size;
      return kept;
    }
    const mapping = Mapping.anonymous(size);
    return { mapping, address: mapping.address, bytes: new Uint8Array(mapping.buffer()) };
  }

  /** Takes a buffer back, which the kernel no longer knows. */
  give(bounce: Bounce): void {
    const size = bounce.bytes.length;
    if (this.#closed || this.#keptBytes + size > KEPT_BYTES) {
      return bounce.mapping[Symbol.dispose]();
    }
    this.#keptBytes += size;
    const free = this.#free.get(size);
    if (free === undefined) this.#free.set(size, [bounce]);
    else free.push(bounce);
  }

  /** Releases what nobody uses; the others when they are given back. */
  [Symbol.dispose](): void {
    this.#closed = true;
    this.#keptBytes = 0;
    for (const free of this.#free.values()) {
      for (const { mapping } of free) mapping[Symbol.dispose]();
    }
    this.#free.clear();
  }
}
