/**
 * The faults of a {@linkcode "./faulty.ts"} store.
 *
 * @module
 */

import type { Dice } from "../uapi/dice.ts";

/** The name of a call. */
export type StoreCallName = "get" | "put" | "replace" | "delete" | "list";

/** A call, as a faulty store counts it. */
export interface StoreCall {
  /** Number of the call, from 1. */
  readonly number: number;
  /** The name of the method. */
  readonly name: StoreCallName;
  /** The object, or the prefix of a list. */
  readonly object: string;
}

/** A fault of a call. */
export type StoreCallFault =
  /** Nothing is done; rejects with `unavailable`. A list ends so after some of its entries. */
  | "unavailable"
  /** Nothing is done; rejects with `full`. */
  | "full"
  /** It is done; rejects with `unavailable`, because the answer was lost. */
  | "lost answer"
  /** It is done, and says undefined: a client repeated its own success and lost against it. */
  | "lost race"
  /** Rejects with `unavailable`, and is done some time later, if that is still possible then. */
  | "late"
  /** Some bytes at the end are missing. */
  | "short"
  /** A bit is flipped. */
  | "flipped"
  /** Lacks some new objects, and has some that were deleted. */
  | "stale";

/** The faults that each call may have. */
export const FAULTS_OF: Readonly<Record<StoreCallName, readonly StoreCallFault[]>> = {
  get: ["unavailable", "short", "flipped"],
  put: ["unavailable", "full", "lost answer", "lost race", "late"],
  replace: ["unavailable", "full", "lost answer", "lost race", "late"],
  delete: ["unavailable", "lost answer", "late"],
  list: ["unavailable", "stale"],
};

/** Decides the fault of a call; undefined for none. */
export type StoreFaults = (call: StoreCall) => StoreCallFault | undefined;

/** Rates of faults: one in so many calls that may have the fault. Left out means never. */
export type StoreFaultRates = Readonly<Partial<Record<StoreCallFault, number>>>;

/** Draws faults from dice. */
export function drawnStoreFaults(dice: Dice, rates: StoreFaultRates): StoreFaults {
  return ({ name }) =>
    FAULTS_OF[name].find((fault) => {
      const oneIn = rates[fault];
      return oneIn !== undefined && dice.draw(oneIn) === 0;
    });
}
