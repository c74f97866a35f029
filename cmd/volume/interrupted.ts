/**
 * What an interrupted command leaves behind, in one line.
 *
 * @module
 */

import { writeError } from "../program/print.ts";
import { type EndSignal, SIGNAL_NUMBERS, watchSignals } from "../program/signals.ts";

/** Work to do before the program ends, the last one first. */
const works: (() => unknown)[] = [];

/**
 * Until it is disposed of, a signal ends the program with a line.
 *
 * @param left What is left then, and what makes it whole.
 */
export function tellIfInterrupted(left: string): Disposable {
  const watch = watchSignals(() => {});
  watch.signal.addEventListener("abort", async () => {
    // No `finally` does it: the program does not come back from its exit.
    for (const work of works.toReversed()) await Promise.try(work).catch(() => {});
    writeError(`ublk-volume: interrupted: ${left}`);
    Deno.exit(128 + SIGNAL_NUMBERS[watch.signal.reason as EndSignal]);
  });
  return watch;
}

/** Until it is disposed of, something is done before a signal ends the program. It should be quick. */
export function whenInterrupted(work: () => unknown): Disposable {
  works.push(work);
  return { [Symbol.dispose]: () => void works.splice(works.indexOf(work), 1) };
}
