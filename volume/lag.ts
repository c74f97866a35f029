/**
 * How far the store lags behind the journal: in bytes of data, and in the age of the oldest write that
 * it does not have.
 *
 * A write's age is that of the mark before it. Marks are made where a commit may end: when the drain has
 * looked how far it may go, and after so many bytes. Only then the clock is read, which costs more than
 * all the rest. When there are too many marks, every second one goes, and the next ones are made half
 * as often, until the store has caught up. So an age is never too low; it is too high by at most
 * 50 ms, the time for a part in 256 of the journal, or 2 % of how far the store lagged behind.
 *
 * @module
 */

import type { EngineHost } from "../disk/engine.ts";
import { assert } from "../uapi/error.ts";
import { AT, type VolumeCounters } from "./counters.ts";

/** Least time between two marks, in microseconds, as long as there are few. */
const BETWEEN_US = 50_000;
/** Most marks. */
const MOST_MARKS = 128;
/** The part of the journal after which another mark is made. */
const STEPS = 256;

/** A point of the journal. */
export interface JournalPoint {
  /** The position. */
  readonly position: number;
  /** Bytes of data in all batches before it. */
  readonly written: number;
}

/** Tells the counters how far the store lags behind. Its methods allocate nothing. */
export class Lag {
  readonly #counters: VolumeCounters;
  readonly #clock: Pick<EngineHost, "nowUs">;
  /** The positions after which something was published, and when; the oldest first. */
  readonly #positions = new Float64Array(MOST_MARKS);
  readonly #times = new Float64Array(MOST_MARKS);
  #marks = 0;
  #betweenUs = BETWEEN_US;
  #position: number;
  /** The position from which on another mark is made. */
  #markAt = 0;
  readonly #step: number;
  /** The drain's looks that are known. */
  #looks = 0;
  #written: number;
  #storedWritten: number;

  /**
   * @param stored What the store has.
   * @param end What the journal has. What the store lacks of it counts as written now.
   * @param size Bytes of the journal.
   */
  constructor(
    counters: VolumeCounters,
    stored: JournalPoint,
    end: JournalPoint,
    size: number,
    clock: Pick<EngineHost, "nowUs">,
  ) {
    this.#counters = counters;
    this.#clock = clock;
    this.#step = size / STEPS;
    this.#position = stored.position;
    this.#written = this.#storedWritten = stored.written;
    if (end.position > stored.position) this.published(end.position, end.written, 0);
    else this.#tell();
  }

  /**
   * The journal has everything before a position. Called for each batch of the journal.
   *
   * @param looks How often the drain has looked how far it may go.
   */
  published(position: number, written: number, looks: number): void {
    assert(position >= this.#position, "the journal does not go back");
    const mayEnd = looks !== this.#looks || this.#position >= this.#markAt;
    if (this.#marks === 0 || mayEnd) this.#mark(looks);
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

  #mark(looks: number): void {
    const nowUs = this.#clock.nowUs();
    this.#looks = looks;
    this.#markAt = this.#position + this.#step;
    if (this.#marks > 0 && nowUs - this.#times[this.#marks - 1] < this.#betweenUs) return;
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
