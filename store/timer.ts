/**
 * Timers of parts whose tests give their own.
 *
 * @module
 */

/** Calls later, in milliseconds, unless it is cancelled by what it returns. */
export function startTimer(ms: number, call: () => void): () => void {
  const timer = setTimeout(call, ms);
  return () => clearTimeout(timer);
}

/** The same, without keeping the process. */
export function startIdleTimer(ms: number, call: () => void): () => void {
  const timer = setTimeout(call, ms);
  Deno.unrefTimer(timer);
  return () => clearTimeout(timer);
}
