/**
 * Commands that read their line by a table of flags, and whose code is loaded when they run.
 *
 * @module
 */

import type { ErrorLog } from "../program/run.ts";
import type { Command } from "./command.ts";
import { type Flag, parseLine, usageError, type Values } from "./flags.ts";

/** Runs a command with the arguments after its name, and returns the exit status. */
export type Run = (args: readonly string[], log: ErrorLog, command: Command) => Promise<number>;

/** The function of a file that implements a command. */
type Implementation<F extends readonly Flag[]> = (
  values: Values<F>,
  log: ErrorLog,
  words: readonly string[],
) => Promise<number>;

/**
 * Wraps a command of a program that takes flags and perhaps words, and what loads its code.
 *
 * @param prepare Changes the values before the command gets them.
 */
export function readingOf(
  program: string,
  prepare: <V>(values: V) => V = (values) => values,
): <const F extends readonly Flag[]>(flags: F, load: () => Promise<Implementation<F>>) => Run {
  return (flags, load) => async (args, log, { name, words: names, operands }) => {
    const run = await load();
    const seeHelp = `see \`${program} ${name} --help\``;
    const { values, words } = parseLine<typeof flags>(flags, args, {
      ...{ seeHelp, unknown: seeHelp, words: names },
    });
    if (words.length > 0 && (operands === undefined || names !== undefined)) {
      throw usageError(words[0], "unexpected argument", seeHelp);
    }
    return await run(prepare(values), log, words);
  };
}
