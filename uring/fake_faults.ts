/**
 * The faults of a fake ring, drawn from a seed.
 *
 * @module
 */

import { Dice } from "../uapi/dice.ts";

/** Probabilities of the faults, from 0 to 1. Left out means 0. */
export interface FakeFaults {
  /** `enter` takes fewer SQEs than offered, and then does not wait. Chains stay whole. */
  shortSubmit?: number;
  /** A wait is interrupted by a signal. */
  eintr?: number;
  /** Submission fails for lack of memory. */
  eagain?: number;
  /** Submission fails until overflowed completions are read. */
  ebusy?: number;
  /** A completion is delayed by a few calls of `enter`. */
  delay?: number;
  /** A completion overtakes others. */
  reorder?: number;
  /** A wait ends with too few completions. */
  earlyReturn?: number;
}

/** Dice that decide when faults occur. The same seed and the same calls give the same faults. */
export class FaultDice extends Dice {
  /** The probabilities. They may be changed at any time. */
  faults: FakeFaults;
  /** Number of occurrences of each fault. */
  readonly struck: Record<keyof FakeFaults, number> = {
    shortSubmit: 0,
    eintr: 0,
    eagain: 0,
    ebusy: 0,
    delay: 0,
    reorder: 0,
    earlyReturn: 0,
  };
  /** Starts the sequence of a seed. */
  constructor(seed = 1, faults: FakeFaults = {}) {
    super(seed);
    this.faults = faults;
  }

  /** Whether the fault occurs now. */
  strikes(fault: keyof FakeFaults): boolean {
    const probability = this.faults[fault] ?? 0;
    // A fault that is off draws nothing, so it does not change the sequence of the others.
    if (probability === 0 || this.draw(1e6) >= probability * 1e6) return false;
    this.struck[fault]++;
    return true;
  }
}
