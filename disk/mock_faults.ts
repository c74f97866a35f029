/**
 * What a mock backend does wrong, and when.
 *
 * @module
 */

import { errnoNumber } from "../uapi/errno.ts";
import { Dice } from "../uapi/dice.ts";
import type { MockCall, MockOp } from "./mock_calls.ts";

/** How a call goes wrong. */
export type MockEffect =
  /** It throws at once. */
  | "throw"
  /** It returns a Promise that rejects. */
  | "reject"
  /** It returns a Promise that never settles. */
  | "never"
  /** It does its work after `delayMs`, and only then settles; with `errno` it rejects. */
  | "late"
  /** It returns a number of bytes, one too few. */
  | "short"
  /** It does its work and returns a thenable that resolves twice, rejects, and throws. */
  | "twice"
  /** It does its work and answers, but writes to the buffer when it is called the next time. */
  | "keep"
  /** It does not return for `delayMs`, or without that never. */
  | "loop";

/** A fault: an effect, and which calls it strikes. Every condition that is given must hold. */
export interface MockFault {
  /** What happens. */
  readonly effect: MockEffect;
  /** Only these methods. */
  readonly op?: MockOp | readonly MockOp[];
  /** Only calls that touch this range of bytes. */
  readonly range?: { readonly offset: number; readonly length: number };
  /** Only the nth call that the conditions above hold for, counted from 1 in each thread. */
  readonly nth?: number;
  /** Only with this probability, from 0 to 1, drawn from the seed. */
  readonly rate?: number;
  /** The name of the errno that the error carries, such as `"ENOSPC"`; without it, none. */
  readonly errno?: string;
  /** A time in milliseconds, or its bounds, between which the seed draws. */
  readonly delayMs?: number | readonly [min: number, max: number];
}

/** Picks the fault, if any, that strikes a call. */
export class MockFaults {
  readonly #faults: readonly MockFault[];
  readonly #seen: number[];
  readonly #dice: Dice;

  /**
   * The first fault that strikes wins.
   *
   * @throws {RangeError} Where an errno has no such name.
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

  /** The fault of this call. */
  pick(call: MockCall): MockFault | undefined {
    return this.#faults.find((fault, index) => {
      const { op, range, nth, rate } = fault;
      if (op !== undefined && op !== call.op && !op.includes(call.op)) return false;
      if (range !== undefined && !touches(call, range)) return false;
      if (nth !== undefined && ++this.#seen[index] !== nth) return false;
      return rate === undefined || this.#dice.draw(1e6) < rate * 1e6;
    });
  }

  /** The time that a fault takes. */
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
