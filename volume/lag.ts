/**
 * How far the store lags behind the journal: in bytes of data, and in the age of the oldest write that
 * it does not have.
 *
 * A write's age is that of the mark before it. At first a mark is made every 50 ms. When there are too
 * many, every second one goes, and marks are made half as often, until the store has caught up. So an
 * age is never too low, and too high by at most 50 ms, or 2 % of how far the store lagged behind.
 *
 * @module
 */

import { assert } from "../uapi/error.ts";
import { AT, type VolumeCounters } from "./counters.ts";

/** Least time between two marks, in microseconds, as long as there are few. */
const BETWEEN_US = 50_000;
/** Most marks. */
const MOST_MARKS = 128;

/** What a point of the journal is compared by. */
export interface JournalPoint {
  /** The position. */
  readonly position: number;
  /** Bytes of data in all batches before it. */
  readonly written: number;
}

/** Tells the counters how far the store lags behind. Its methods allocate nothing. */
export class Lag {
  readonly #counters: VolumeCounters;
  /** The positions after which something was published, and when; the oldest first. */
  readonly #positions = new Float64Array(MOST_MARKS);
  readonly #times = new Float64Array(MOST_MARKS);
  #marks = 0;
  #betweenUs = BETWEEN_US;
  #position: number;
  #written: number;
  #storedWritten: number;

  /**
   * @param stored What the store has.
   * @param end What the journal has. What the store lacks of it counts as written now.
   */
  constructor(counters: VolumeCounters, stored: JournalPoint, end: JournalPoint, nowUs: number) {
    this.#counters = counters;
    this.#position = stored.position;
    this.#written = this.#storedWritten = stored.written;
    if (end.position > stored.position) this.published(end.position, end.written, nowUs);
    else this.#tell();
  }

  /** The journal has everything before a position. Called after each batch. */
  published(position: number, written: number, nowUs: number): void {
    assert(position >= this.#position, "the journal does not go back");
    const last = this.#marks - 1;
    if (last < 0 || nowUs - this.#times[last] >= this.#betweenUs) this.#mark(nowUs);
    this.#position = position;
    this.#written = written;
    this.#tell();
  }

  /** The store has everything before a position. */
  stored(position: number, written: number): void {
    let gone = 0;
    while (gone + 1 < this.#marks && this.#positions[gone + 1] <= position) gone++;
    // The last mark is about everything after it.
    if (position >= this.#position) gone = this.#marks;
    this.#positions.copyWithin(0, gone, this.#marks);
    this.#times.copyWithin(0, gone, this.#marks);
    this.#marks -= gone;
    if (this.#marks < MOST_MARKS / 4) this.#betweenUs = BETWEEN_US;
    this.#storedWritten = written;
    this.#tell();
  }

  #mark(nowUs: number): void {
    if (this.#marks === MOST_MARKS) {
      this.#marks /= 2;
      this.#betweenUs *= 2;
      for (let nth = 0; nth < this.#marks; nth++) {
        this.#positions[nth] = this.#positions[2 * nth];
        this.#times[nth] = this.#times[2 * nth];
      }
    }
    this.#positions[this.#marks] = this.#position;
    this.#times[this.#marks++] = nowUs;
  }

  #tell(): void {
    this.#counters.set(AT.lagBytes, this.#written - this.#storedWritten);
    this.#counters.set(AT.lagSeconds, this.#marks === 0 ? 0 : this.#times[0]);
  }
}
