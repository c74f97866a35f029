/**
 * SIGINT, SIGTERM and SIGHUP: the first one ends the program in an orderly way, a later one by
 * force.
 *
 * @module
 */

/** The signals that end a server. */
export type EndSignal = "SIGINT" | "SIGTERM" | "SIGHUP";

/** Their numbers, for exit statuses. */
export const SIGNAL_NUMBERS: Readonly<Record<EndSignal, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGTERM: 15,
};

/**
 * Under `deno task` one Ctrl-C arrives twice within 2 ms: from the terminal, and passed on by the
 * task's own process. Only a later one means impatience.
 */
const SECOND_SIGNAL_MS = 1000;

/** A watch over the signals. */
export interface SignalWatch extends Disposable {
  /** Fires at the first signal; its reason is the signal's name. */
  readonly signal: AbortSignal;
}

/** Watches; `force` is called for a signal that comes a second or more after the first. */
export function watchSignals(force: (name: EndSignal) => void): SignalWatch {
  const first = new AbortController();
  let firstMs = 0;
  const listeners = (Object.keys(SIGNAL_NUMBERS) as EndSignal[]).map((name) => {
    const listener = () => {
      if (!first.signal.aborted) {
        firstMs = performance.now();
        first.abort(name);
      } else if (performance.now() - firstMs >= SECOND_SIGNAL_MS) {
        force(name);
      }
    };
    Deno.addSignalListener(name, listener);
    return { name, listener };
  });
  return {
    signal: first.signal,
    [Symbol.dispose]() {
      for (const { name, listener } of listeners) Deno.removeSignalListener(name, listener);
    },
  };
}
