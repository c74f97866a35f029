/**
 * The table of operations that the kernel has, by the number in their user data.
 *
 * It holds them strongly, with the memory that the kernel may still write to, until the completion
 * arrives, whatever became of the Promise.
 *
 * @module
 */

import { assert } from "../uapi/error.ts";

/**
 * Operations whose ring is closed and which the kernel never answered. One that it did not cancel
 * may still write to its memory, which is therefore never freed: a leak of some bytes against
 * memory corruption.
 */
const orphans = new Set<unknown>();

/** The number of operations of closed rings that keep their memory for ever. For tests. */
export function orphanCount(): number {
  return orphans.size;
}

/** The operations in flight on one ring. */
export class InFlight<Entry extends { readonly id: number }> {
  readonly #entries = new Map<number, Entry>();
  #lastId = 0;

  /** Operations in the table. */
  get size(): number {
    return this.#entries.size;
  }

  /** A number that no entry has, positive and below 2^31. */
  freeId(): number {
    do this.#lastId = (this.#lastId + 1) & 0x7fff_ffff; while (
      this.#lastId === 0 || this.#entries.has(this.#lastId)
    );
    return this.#lastId;
  }

  /** Holds an entry from now on. */
  add(entry: Entry): void {
    assert(!this.#entries.has(entry.id), "a number belongs to one operation in flight");
    this.#entries.set(entry.id, entry);
  }

  /** Lets go of an entry, which there must be. */
  take(id: number): Entry {
    const entry = this.#entries.get(id);
    assert(entry !== undefined, "a completion belongs to an operation in flight");
    this.#entries.delete(id);
    return entry;
  }

  /** All entries. A copy, because giving one up may take out another. */
  all(): Entry[] {
    return [...this.#entries.values()];
  }

  /** Whether that is true of any entry. */
  some(isTrue: (entry: Entry) => boolean): boolean {
    for (const entry of this.#entries.values()) if (isTrue(entry)) return true;
    return false;
  }

  /** The least of a number that each entry has; Infinity where there is none. */
  least(number: (entry: Entry) => number): number {
    let least = Infinity;
    for (const entry of this.#entries.values()) least = Math.min(least, number(entry));
    return least;
  }

  /** The ring is closed: what the kernel has not answered is held for ever. */
  orphan(): void {
    for (const entry of this.#entries.values()) orphans.add(entry);
  }
}
