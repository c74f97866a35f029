/**
 * What a run of a simulation says about a broken rule.
 *
 * @module
 */

import { stripVTControlCharacters } from "node:util";
import type { Ran } from "../../exec.ts";

/** The outcome of a run. */
export type Verdict =
  /** It has noticed. */
  | { readonly is: "red"; readonly seed: number; readonly words: string }
  /** It has not. */
  | { readonly is: "green" }
  /** It did not end, or waits for what never comes. */
  | { readonly is: "hang" }
  /** It did not come so far: that is a mistake in the list. */
  | { readonly is: "mistake"; readonly words: string };

/** The line of `eachSeed`, and the one behind it. */
const FAILED = /of \d+ seeds failed: (\d+)[^\n]*\n(.*)/;
/** The end of a run whose event loop has nothing left to do. */
const PENDING = "Promise resolution is still pending";
/** A mistake in source that is not type-checked shows so. The engine has errors of its own. */
const MISTAKES = /^Caused by: ((?:Reference|Syntax|Type|Range)Error: .*)$/m;
/** The seed is told by itself. */
const SEED = /^seed \d+: /;

/** Reads the output of `deno test`. */
export function verdictOf({ code, timedOut, output }: Ran & { output: string }): Verdict {
  const text = stripVTControlCharacters(output);
  if (timedOut || text.includes(PENDING)) return { is: "hang" };
  if (code === 0) {
    // Deno is content with a filter that finds nothing.
    return /^ok \| 1 passed/m.test(text)
      ? { is: "green" }
      : { is: "mistake", words: "no test has run" };
  }
  const [, seed, words] = text.match(FAILED) ?? [];
  if (seed === undefined) {
    const error = text.match(/^error: (.*)$/m)?.[1] ?? "deno test has failed";
    return { is: "mistake", words: `it does not load: ${error}` };
  }
  const [, mistake] = text.match(MISTAKES) ?? [];
  if (mistake !== undefined) return { is: "mistake", words: mistake };
  return { is: "red", seed: Number(seed), words: words.replace(SEED, "") };
}
