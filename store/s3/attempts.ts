/**
 * How a call is tried again: what may pass, with pauses, within a bound, until its caller ends it.
 *
 * @module
 */

import { isTransient, type RetryTerms } from "../retry.ts";

/**
 * The terms of attempts.
 *
 * @param withinMs No attempt begins later than this after the first, in milliseconds.
 * @param signal Ends them: they throw its reason.
 */
export function attempts(withinMs: number, signal: AbortSignal | undefined): RetryTerms {
  return {
    withinMs,
    mayPass(error) {
      signal?.throwIfAborted();
      return isTransient(error);
    },
    pause: (ms) => pause(ms, signal),
  };
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const end = () => reject(signal!.reason);
  signal?.addEventListener("abort", end, { once: true });
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", end);
  }
}
