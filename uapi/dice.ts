/**
 * Numbers that look random and are the same for a seed: for disks that fail by chance, and for
 * tests.
 *
 * @module
 */

/** A series of numbers. The same seed and the same calls give the same numbers, for ever. */
export class Dice {
  #state: number;

  /** Starts the series of a seed. */
  constructor(seed = 1) {
    this.#state = seed | 0;
  }

  /** A whole number from 0 to below `limit`. */
  draw(limit: number): number {
    // mulberry32. Answers of a real kernel are recorded for what is drawn so (`tests/partition_tables.ts`).
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor(((t ^ (t >>> 14)) >>> 0) / 2 ** 32 * limit);
  }
}
