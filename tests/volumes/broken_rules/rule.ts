/**
 * A rule of the volume engine, and a change of its source that breaks it. The simulations of
 * `volume/crash_test.ts` must notice.
 *
 * @module
 */

/** The simulations, each with words of its test's name that no other test has. */
export const SIMULATIONS = {
  crashes: "keeps its promises through every crash",
  interruptions: "interrupted and short transfers",
  brokenFiles: "a failing disk has not kept",
  brokenStore: "loses nothing to a store that fails",
  brokenMoves: "finds data that is moved",
  fullStore: "goes on after its store was full",
  lostJournals: "without its journal is a prefix",
  twoWriters: "has one writer",
  flips: "returns no flipped bit",
  caches: "whatever happens to its cache",
  clones: "and leave nothing",
} as const;

/** One of them. */
export type Simulation = keyof typeof SIMULATIONS;

/** Source text, and what stands there instead. */
export interface Change {
  /** The path of the file. */
  readonly file: string;
  /** Text that the file has exactly once. */
  readonly text: string;
  /** What takes its place. */
  readonly instead: string;
}

/** A rule that is broken on purpose. */
export interface BrokenRule extends Change {
  /** What is done wrong, in words. */
  readonly name: string;
  /** The simulations that find it, each by itself. */
  readonly foundBy: readonly Simulation[];
  /** The seed at which each of them gives up. It is some times the one that is found today. */
  readonly seeds: number;
  /**
   * A simulation that hangs, or waits for what never comes, has found it too.
   *
   * @default false
   */
  readonly mayHang?: boolean;
}

/** The list of rules does not fit the source. */
export class StaleRule extends Error {}

/** Makes a change. @throws {StaleRule} The text is not there exactly once. */
export function changed(source: string, { file, text, instead }: Change, name: string): string {
  const count = source.split(text).length - 1;
  if (count === 1) {
    const at = source.indexOf(text);
    return source.slice(0, at) + instead + source.slice(at + text.length);
  }
  const [line] = text.trim().split("\n");
  const how = count === 0 ? "has no" : `has ${count} times`;
  throw new StaleRule(
    `"${name}" is stale: ${file} ${how} \`${line}\`; give text that is there once`,
  );
}
