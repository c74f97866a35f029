/**
 * The memory for requests' data, shared by all connections so that none can take it from another.
 *
 * Each connection owns one piece, so that it always gets on. Beyond that it may hold as many bytes of
 * the pool as are still free: one that never reads its replies gets half of the pool, the next a
 * quarter, and so on, and the pool is never empty (the dynamic thresholds of Choudhury and Hahne, by
 * which switches share their packet memory).
 *
 * @module
 */

/** Data travels in pieces of at most so many bytes. */
export const PIECE_BYTES = 1 << 20;
/** Longest READ or WRITE that a disk which answers at once performs in the connection's own memory. */
export const PROMPT_BYTES = 256 << 10;
/**
 * Bytes for each connection besides the pool: its own piece, one of a reply that is streamed, and the
 * memory of prompt reads and writes.
 */
export const OWN_BYTES: number = 2 * PIECE_BYTES + 2 * PROMPT_BYTES;

/** The pool. */
export class MemoryPool {
  /** Bytes that nobody holds. */
  #free: number;
  readonly #waiting = new Set<MemoryShare>();

  /** @param bytes Bytes of the pool, besides what each connection owns. */
  constructor(bytes: number) {
    this.#free = bytes;
  }

  /** A connection's share. */
  share(): MemoryShare {
    return new MemoryShare({
      move: (before, after) => {
        const more = fromPool(after) - fromPool(before);
        if (more > 0 && fromPool(after) > this.#free) return false;
        this.#free -= more;
        if (more < 0) { for (const share of [...this.#waiting]) share.retry(); }
        return true;
      },
      waits: (share, isWaiting) => {
        // A share that got something goes to the end of the line.
        this.#waiting.delete(share);
        if (isWaiting) this.#waiting.add(share);
      },
    });
  }
}

/** Bytes of the pool that a connection has when it holds so many in all. */
const fromPool = (held: number) => Math.max(0, held - PIECE_BYTES);

interface Pool {
  move(before: number, after: number): boolean;
  waits(share: MemoryShare, isWaiting: boolean): void;
}

/** The memory of one connection. */
export class MemoryShare {
  readonly #pool: Pool;
  #held = 0;
  #waiting: { readonly bytes: number; readonly resolve: () => void }[] = [];

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Bytes that it holds. */
  get held(): number {
    return this.#held;
  }

  /** Takes at most a piece, in turn. @returns A Promise if it has to wait. */
  take(bytes: number): Promise<void> | undefined {
    if (this.#waiting.length === 0 && this.#get(bytes)) return undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ bytes, resolve });
    this.#pool.waits(this, true);
    return promise;
  }

  /** Gives back what was taken. */
  give(bytes: number): void {
    this.#held -= bytes;
    this.#pool.move(this.#held + bytes, this.#held);
    this.retry();
  }

  /** Looks whether those who wait can go on. */
  retry(): void {
    while (this.#waiting.length > 0 && this.#get(this.#waiting[0].bytes)) {
      this.#waiting.shift()!.resolve();
    }
    this.#pool.waits(this, this.#waiting.length > 0);
  }

  #get(bytes: number): boolean {
    if (!this.#pool.move(this.#held, this.#held + bytes)) return false;
    this.#held += bytes;
    return true;
  }
}
