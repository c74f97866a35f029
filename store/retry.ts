/**
 * Which failures of a store may pass, and how the same is tried again.
 *
 * | fault         | may pass                                 | a read               | the drain          |
 * | ------------- | ---------------------------------------- | -------------------- | ------------------ |
 * | `unavailable` | soon: busy, or a connection broke        | again, in its bound  | again, for good    |
 * | `full`        | once somebody makes room                 | at once an error     | again, for good    |
 * | `refused`     | once somebody changes rights or a folder | at once an error     | again, for good    |
 * | `corrupt`     | never                                    | at once an error     | at once an error   |
 *
 * An attempt is the whole of a call, from its first byte: a store whose fsync has failed begins with a
 * new file, and what was not made durable never passes for done.
 *
 * @module
 */

import { StoreError } from "./store.ts";

/** Whether a failure may pass by itself, and soon. */
export function isTransient(error: unknown): error is StoreError {
  return error instanceof StoreError && error.fault === "unavailable";
}

/** Whether a failure may pass at all, perhaps because somebody does something about it. */
export function mayPass(error: unknown): error is StoreError {
  return error instanceof StoreError && error.fault !== "corrupt";
}

/** The first pause, in milliseconds. */
const FIRST_MS = 100;
/** The longest pause, in milliseconds. */
const LAST_MS = 10_000;

/**
 * Pauses between attempts, each twice as long as the one before, up to a longest one. Half of each is random,
 * so that those whose store was away for all of them do not come back at the same moment.
 */
export class Backoff {
  /** Attempts that have failed since the last success. */
  failures = 0;
  readonly #random: () => number;
  readonly #firstMs: number;
  readonly #longestMs: number;

  /**
   * @param random From 0 to 1.
   * @param firstMs The first pause, in milliseconds.
   * @param longestMs The longest pause, in milliseconds.
   */
  constructor(random: () => number = Math.random, firstMs = FIRST_MS, longestMs = LAST_MS) {
    this.#random = random;
    this.#firstMs = firstMs;
    this.#longestMs = longestMs;
  }

  /** The pause after another failure, in milliseconds. */
  next(): number {
    const ms = Math.min(this.#longestMs, this.#firstMs * 2 ** this.failures++);
    return ms * (1 + this.#random()) / 2;
  }

  /** An attempt has succeeded. */
  succeeded(): void {
    this.failures = 0;
  }
}

/** How something is tried again. */
export interface RetryTerms {
  /** No attempt begins later than this, in milliseconds after the first. */
  readonly withinMs: number;
  /**
   * Which failures are tried again.
   *
   * @default {isTransient}
   */
  readonly mayPass?: (error: unknown) => boolean;
  /**
   * Waits, for tests.
   *
   * @default A timer
   */
  readonly pause?: (ms: number) => Promise<void>;
  /**
   * A clock in milliseconds that never goes back, for tests.
   *
   * @default {performance.now}
   */
  readonly now?: () => number;
}

/**
 * Tries something until it succeeds, fails for good, or the time is over.
 *
 * @throws What the last attempt threw.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { retried } from "./retry.ts";
 * import { StoreError } from "./store.ts";
 *
 * let attempts = 0;
 * const answer = await retried(async () => {
 *   if (++attempts < 3) throw new StoreError("unavailable", "the store is busy");
 *   return await Promise.resolve("here");
 * }, { withinMs: 5000 });
 * assertEquals([answer, attempts], ["here", 3]);
 * ```
 */
export async function retried<T>(attempt: () => Promise<T>, terms: RetryTerms): Promise<T> {
  const { withinMs, mayPass = isTransient, pause = wait, now = () => performance.now() } = terms;
  const end = now() + withinMs;
  const backoff = new Backoff();
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const ms = backoff.next();
      if (!mayPass(error) || now() + ms > end) throw error;
      await pause(ms);
    }
  }
}

/** Waits for so many milliseconds. */
export function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
