/**
 * An operation for a `PromiseRing`, its time limit, and the rules for giving it up.
 *
 * @module
 */

import type { Ring } from "./ring.ts";

/** An operation with its errors. */
export interface RingOperation {
  /**
   * Fills one SQE with the given user data. Must not throw.
   *
   * @returns Its word index, or -1 if the queue is full. It is called again later then.
   */
  prepare(ring: Ring, id: number, kind: number): number;
  /** The memory that the kernel may access. It is held until the completion arrives. */
  readonly memory?: unknown;
  /** The error after its signal has fired. */
  aborted(reason: unknown): Error;
  /** The error after the ring was closed. */
  closed(): Error;
}

/** The time limit of an operation. */
export interface Patience {
  /** The first time limit, in milliseconds. */
  readonly firstMs: number;
  /**
   * Called when the time limit has passed; may extend it.
   *
   * @returns The new deadline, by `performance.now()`. One that is not after `nowMs` gives the
   *   operation up.
   */
  until(nowMs: number): number;
  /** The error after the time limit. */
  error(): Error;
}

/**
 * The events that reject the Promise of an operation while the kernel still has it. Each event also
 * asks the kernel to cancel the operation.
 *
 * - `at-once`: the signal, the deadline, and closing the ring.
 * - `unless-aborted`: the deadline and closing. The signal only asks the kernel to cancel.
 * - `never`: the Promise settles only with the completion, because the memory may be reused after
 *   that. If the kernel does not release the operation when the ring is closed, it never settles.
 */
export type GivesUp = "at-once" | "unless-aborted" | "never";

/** The time limit of an operation, and the rules for giving it up. */
export interface Terms {
  /**
   * The time limit.
   *
   * @default None
   */
  readonly patience?: Patience;
  /** Cancels the operation, according to {@linkcode givesUp}. */
  readonly signal?: AbortSignal;
  /**
   * The events that reject the Promise.
   *
   * @default "at-once"
   */
  readonly givesUp?: GivesUp;
}
