/**
 * Which of a number of slots was used longest ago.
 *
 * @module
 */

import { fail } from "../../uapi/error.ts";

/** The slots in use, from the one used longest ago to the one used last. */
export class Recency {
  /** A ring; its last element stands between newest and oldest. */
  readonly #newer: Int32Array;
  readonly #older: Int32Array;
  readonly #end: number;

  /** For the slots from 0 to below `count`, of which none is in it yet. */
  constructor(count: number) {
    this.#newer = new Int32Array(count + 1).fill(count);
    this.#older = new Int32Array(count + 1).fill(count);
    this.#end = count;
  }

  /** The slot used longest ago, or -1. */
  get oldest(): number {
    return this.after(this.#end);
  }

  /** The slot that was used next after that one, or -1. */
  after(slot: number): number {
    const next = this.#newer[slot];
    return next === this.#end ? -1 : next;
  }

  /** A slot comes in, as the newest. */
  add(slot: number): void {
    if (slot < 0 || slot >= this.#end) fail("the slot is one of those that there are");
    const newest = this.#older[this.#end];
    this.#newer[newest] = slot;
    this.#older[slot] = newest;
    this.#newer[slot] = this.#end;
    this.#older[this.#end] = slot;
  }

  /** A slot that is in it goes. */
  remove(slot: number): void {
    const newer = this.#newer[slot];
    const older = this.#older[slot];
    this.#newer[older] = newer;
    this.#older[newer] = older;
  }

  /** A slot that is in it is used. */
  touch(slot: number): void {
    if (this.#older[this.#end] === slot) return;
    this.remove(slot);
    this.add(slot);
  }
}
