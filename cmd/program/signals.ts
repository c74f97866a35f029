/**
 * SIGINT, SIGTERM and SIGHUP: the first one ends the program in an orderly way, a later one by
 * force.
 *
 * @module
 */

import {
  addListener,
  type EndSignal,
  isIgnored,
  SECOND_SIGNAL_MS,
  SIGNAL_NUMBERS,
} from "../../uring/signals.ts";

export { type EndSignal, SIGNAL_NUMBERS };

/** A watch for the signals. */
export interface SignalWatch extends Disposable {
  /** Fires at the first signal; its reason is the signal's name. */
  readonly signal: AbortSignal;
}

/** The signals that a command listens for. Under `nohup`, SIGHUP is not among them. */
export function heardSignals(): EndSignal[] {
  return (Object.keys(SIGNAL_NUMBERS) as EndSignal[])
    .filter((name) => name !== "SIGHUP" || !isIgnored(name));
}

/**
 * Starts watching.
 *
 * @param force Called for a signal that comes at least a second after the first.
 * @param now A clock in milliseconds. Default: the machine's.
 */
export function watchSignals(
  force: (name: EndSignal) => void,
  now: () => number = () => performance.now(),
): SignalWatch {
  const first = new AbortController();
  let firstMs = 0;
  const listeners = heardSignals().map((name) => {
    const listener = () => {
      if (!first.signal.aborted) {
        firstMs = now();
        first.abort(name);
      } else if (now() - firstMs >= SECOND_SIGNAL_MS) {
        force(name);
      }
    };
    addListener(name, listener);
    return { name, listener };
  });
  return {
    signal: first.signal,
    [Symbol.dispose]() {
      for (const { name, listener } of listeners) Deno.removeSignalListener(name, listener);
    },
  };
}
