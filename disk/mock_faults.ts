/**
 * The faults of a mock backend.
 *
 * @module
 */

import { errnoNumber } from "../uapi/errno.ts";
import { Dice } from "../uapi/dice.ts";
import type { MockCall, MockOp } from "./mock_calls.ts";

/** The effect of a fault on a call. */
export type MockEffect =
  /** The call throws at once. */
  | "throw"
  /** The call returns a Promise that rejects. */
  | "reject"
  /** The call returns a Promise that never settles. */
  | "never"
  /**
   * The call returns a Promise, and does its work after `delayMs`. With `errno` it rejects instead.
   */
  | "late"
  /** The call does its work, but returns a number of bytes that is one too small. */
  | "short"
  /** The call does its work, and returns a thenable that resolves twice, rejects and throws. */
  | "twice"
  /** The call does its work and answers, but the next call writes to its buffer. */
  | "keep"
  /** The call loops for `delayMs` before it does its work; without `delayMs` for ever. */
  | "loop";

/**
 * A fault: an effect, and conditions for the calls it applies to. All given conditions must hold.
 */
export interface MockFault {
  /** The effect. */
  readonly effect: MockEffect;
  /** Only calls of these methods. */
  readonly op?: MockOp | readonly MockOp[];
  /** Only calls that overlap this range, in bytes. */
  readonly range?: { readonly offset: number; readonly length: number };
  /**
   * Only the nth call that meets the conditions above. Counts from 1, in each thread separately.
   */
  readonly nth?: number;
  /** Only with this probability, from 0 to 1, drawn with the seed. */
  readonly rate?: number;
  /** Name of the errno that the error carries, such as `"ENOSPC"`. If left out, it carries none. */
  readonly errno?: string;
  /** The delay in milliseconds, or bounds between which it is drawn with the seed. */
  readonly delayMs?: number | readonly [min: number, max: number];
}

/** Picks the fault, if any, for each call. */
export class MockFaults {
  readonly #faults: readonly MockFault[];
  readonly #seen: number[];
  readonly #dice: Dice;

  /**
   * If several faults apply to a call, the first one wins.
   *
   * @throws {RangeError} If the name of an errno is unknown.
   */
  constructor(faults: readonly MockFault[], seed: number) {
    for (const { errno } of faults) {
      if (errno !== undefined && errnoNumber(errno) === undefined) {
        throw new RangeError(`${errno} is not the name of an errno; write one such as "ENOSPC"`);
      }
    }
    this.#faults = faults;
    this.#seen = faults.map(() => 0);
    this.#dice = new Dice(seed);
  }

  /** Picks the fault for a call; undefined for none. */
  pick(call: MockCall): MockFault | undefined {
    return this.#faults.find((fault, index) => {
      const { op, range, nth, rate } = fault;
      if (op !== undefined && op !== call.op && !op.includes(call.op)) return false;
      if (range !== undefined && !touches(call, range)) return false;
      if (nth !== undefined && ++this.#seen[index] !== nth) return false;
      return rate === undefined || this.#dice.draw(1e6) < rate * 1e6;
    });
  }

  /** The delay of a fault, in milliseconds. */
  delayMs({ delayMs = 0 }: MockFault): number {
    if (typeof delayMs === "number") return delayMs;
    return delayMs[0] + this.#dice.draw(delayMs[1] - delayMs[0] + 1);
  }
}

function touches(call: MockCall, range: { offset: number; length: number }): boolean {
  return call.offset < range.offset + range.length && range.offset < call.offset + call.length;
}

/** The error that a fault throws. */
export function mockError({ errno }: MockFault): Error {
  const error = new Error(errno === undefined ? "a mock failure" : `a mock failure: ${errno}`);
  return errno === undefined ? error : Object.assign(error, { code: errno });
}
