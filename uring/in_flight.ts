/**
 * The table of operations in flight, keyed by the id in their user data.
 *
 * It holds each operation, with the memory that the kernel may still write to, until the completion
 * arrives, whatever has become of the Promise.
 *
 * @module
 */

import { assert } from "../uapi/error.ts";

/**
 * Operations whose ring was closed before the kernel completed them. If the kernel did not cancel
 * such an operation, it may still write to the memory, which is therefore never freed. A leak of
 * some bytes is better than memory corruption.
 */
const orphans = new Set<unknown>();

/** Number of operations of closed rings that keep their memory for ever. For tests. */
export function orphanCount(): number {
  return orphans.size;
}

/** The operations in flight on one ring. */
export class InFlight<Entry extends { readonly id: number }> {
  readonly #entries = new Map<number, Entry>();
  #lastId = 0;

  /** Number of operations in the table. */
  get size(): number {
    return this.#entries.size;
  }

  /** Finds an unused id, positive and below 2^31. */
  freeId(): number {
    do this.#lastId = (this.#lastId + 1) & 0x7fff_ffff; while (
      this.#lastId === 0 || this.#entries.has(this.#lastId)
    );
    return this.#lastId;
  }

  /** Adds an entry. */
  add(entry: Entry): void {
    assert(!this.#entries.has(entry.id), "a number belongs to one operation in flight");
    this.#entries.set(entry.id, entry);
  }

  /** Removes and returns an entry, which must exist. */
  take(id: number): Entry {
    const entry = this.#entries.get(id);
    assert(entry !== undefined, "a completion belongs to an operation in flight");
    this.#entries.delete(id);
    return entry;
  }

  /** All entries, as a copy, because giving one up may remove another. */
  all(): Entry[] {
    return [...this.#entries.values()];
  }

  /** Whether the predicate is true for any entry. */
  some(isTrue: (entry: Entry) => boolean): boolean {
    for (const entry of this.#entries.values()) if (isTrue(entry)) return true;
    return false;
  }

  /** The minimum of a number over all entries; Infinity if there are none. */
  least(number: (entry: Entry) => number): number {
    let least = Infinity;
    for (const entry of this.#entries.values()) least = Math.min(least, number(entry));
    return least;
  }

  /** The ring is closed: holds the remaining entries for ever. */
  orphan(): void {
    for (const entry of this.#entries.values()) orphans.add(entry);
  }
}
