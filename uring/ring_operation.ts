/**
 * An operation for a ring of Promises, its time limit, and how it may be given up.
 *
 * @module
 */

import type { Ring } from "./ring.ts";

/** An operation, and the errors that name it. */
export interface RingOperation {
  /**
   * Fills one SQE with this user data, and does not throw.
   *
   * @returns Its word index, or -1 where the queue is full: then it is called again later.
   */
  prepare(ring: Ring, id: number, kind: number): number;
  /** The memory that the kernel may read and write: it is held until the completion arrives. */
  readonly memory?: unknown;
  /** Its signal fired. */
  aborted(reason: unknown): Error;
  /** The ring was closed. */
  closed(): Error;
}

/** The time limit of an operation. */
export interface Patience {
  /** In milliseconds, at first. */
  readonly firstMs: number;
  /**
   * Called when that time is over, and then whenever the time is over that it returned.
   *
   * @returns Until when there is time, by `performance.now()`. What is not later than `nowMs` ends it.
   */
  until(nowMs: number): number;
  /** The error of an operation whose time is over. */
  error(): Error;
}

/**
 * The events that reject the Promise of an operation which the kernel still has. In any case the
 * kernel is asked to cancel it.
 *
 * - `at-once`: its signal, its deadline, and closing the ring.
 * - `unless-aborted`: the deadline and closing; a signal only asks the kernel to cancel.
 * - `never`: it settles with its completion and not before, because that is when its memory becomes
 *   somebody else's. One that the kernel does not let go of when the ring is closed never settles.
 */
export type GivesUp = "at-once" | "unless-aborted" | "never";

/** The time limit of an operation, and who may give it up. */
export interface Terms {
  /** Without it, there is no limit in time. */
  readonly patience?: Patience;
  /** Cancels the operation, as {@linkcode givesUp} says. */
  readonly signal?: AbortSignal;
  /** Default: `"at-once"`. */
  readonly givesUp?: GivesUp;
}
