/**
 * The faults of a fake ring, drawn from a seed.
 *
 * @module
 */

import { Dice } from "../uapi/dice.ts";

/** Probabilities, from 0 to 1, with which things go wrong. Left out is 0. */
export interface FakeFaults {
  /** `enter` takes fewer SQEs than offered, and then does not wait. Links are not torn. */
  shortSubmit?: number;
  /** A wait is interrupted by a signal. */
  eintr?: number;
  /** Submission finds no memory. */
  eagain?: number;
  /** Submission is refused until overflowed completions are read. */
  ebusy?: number;
  /** A completion is held back for some more calls of `enter`. */
  delay?: number;
  /** A completion overtakes others. */
  reorder?: number;
  /** A wait ends with too few completions. */
  earlyReturn?: number;
}

/** Decides when a fault strikes: the same seed and the same calls give the same faults. */
export class FaultDice extends Dice {
  /** The probabilities; may be changed at any time. */
  faults: FakeFaults;
  /** How often each fault has struck. */
  readonly struck: Record<keyof FakeFaults, number> = {
    shortSubmit: 0,
    eintr: 0,
    eagain: 0,
    ebusy: 0,
    delay: 0,
    reorder: 0,
    earlyReturn: 0,
  };
  /** Starts the series of a seed. */
  constructor(seed = 1, faults: FakeFaults = {}) {
    super(seed);
    this.faults = faults;
  }

  /** Whether the fault strikes now. */
  strikes(fault: keyof FakeFaults): boolean {
    const probability = this.faults[fault] ?? 0;
    // No draw for a fault that is off: switching one on leaves the others' series as it was.
    if (probability === 0 || this.draw(1e6) >= probability * 1e6) return false;
    this.struck[fault]++;
    return true;
  }
}
