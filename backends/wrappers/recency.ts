/**
 * The order in which slots were last used.
 *
 * @module
 */

import { fail } from "../../uapi/error.ts";

/** The slots in use, from the least to the most recently used one. */
export class Recency {
  /** A ring, whose last element stands between newest and oldest. */
  readonly #newer: Int32Array;
  readonly #older: Int32Array;
  readonly #end: number;

  /** Makes an empty order, for the slots from 0 to below `count`. */
  constructor(count: number) {
    this.#newer = new Int32Array(count + 1).fill(count);
    this.#older = new Int32Array(count + 1).fill(count);
    this.#end = count;
  }

  /** The least recently used slot, or -1. */
  get oldest(): number {
    return this.after(this.#end);
  }

  /** The next slot in order of use after the given one, or -1. */
  after(slot: number): number {
    const next = this.#newer[slot];
    return next === this.#end ? -1 : next;
  }

  /** Adds a slot as the newest. */
  add(slot: number): void {
    if (slot < 0 || slot >= this.#end) fail("the slot is one of those that there are");
    const newest = this.#older[this.#end];
    this.#newer[newest] = slot;
    this.#older[slot] = newest;
    this.#newer[slot] = this.#end;
    this.#older[this.#end] = slot;
  }

  /** Removes a slot that is in the order. */
  remove(slot: number): void {
    const newer = this.#newer[slot];
    const older = this.#older[slot];
    this.#newer[older] = newer;
    this.#older[newer] = older;
  }

  /** Makes a slot that is in the order the newest. */
  touch(slot: number): void {
    if (this.#older[this.#end] === slot) return;
    this.remove(slot);
    this.add(slot);
  }
}
