/**
 * Bounce buffers, for arrays that JavaScript may move or collect. The kernel gets the address of
 * the bounce buffer, and the bytes are copied.
 *
 * @module
 */

import { Mapping, pageBytes } from "./mapping.ts";

/** Maximum number of bytes that a pool keeps for the next operations. */
const KEPT_BYTES = 4 << 20;

/** A buffer from a pool. */
export interface Bounce {
  /** The address. */
  readonly address: number;
  /** The bytes, at least as many as requested. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The mapping that the buffer fills. Owned by the pool. */
  readonly mapping: Mapping;
}

/**
 * A pool of buffers whose sizes are powers of two. Some are kept: a new mapping costs as much as a
 * read.
 */
export class BouncePool implements Disposable {
  readonly #free = new Map<number, Bounce[]>();
  #keptBytes = 0;
  #closed = false;

  /** Number of unused bytes in the pool, at most 4 MiB. */
  get keptBytes(): number {
    return this.#keptBytes;
  }

  /**
   * Takes a buffer of at least `bytes`. Its contents are arbitrary.
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

  /** Returns a buffer to the pool. The kernel must no longer use it. */
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

  /** Releases the unused buffers now, and the others as they are returned. */
  [Symbol.dispose](): void {
    this.#closed = true;
    this.#keptBytes = 0;
    for (const free of this.#free.values()) {
      for (const { mapping } of free) mapping[Symbol.dispose]();
    }
    this.#free.clear();
  }
}
