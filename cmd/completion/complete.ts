/**
 * `ublk __complete`: returns the suggestions at the cursor. The scripts of `ublk completions` call
 * it, each in its shell's way.
 *
 * @module
 */

import { writeText } from "../program/print.ts";
import { EXIT_OK } from "../program/run.ts";
import type { Syntax } from "../line/flags.ts";
import type { Answer, Devices } from "./offer.ts";
import { type CommandSet, suggest } from "./suggest.ts";

/** The supported shells. */
export const SHELLS = ["bash", "zsh", "fish"] as const;

type Shell = typeof SHELLS[number];

/**
 * Answers a shell: one suggestion per line. The last line starts with a colon and lists what else
 * the shell should do: add files, and put no space after the word.
 *
 * @param args The shell, and the words of the line after the program's name up to the cursor.
 * @param program The syntax of a program, or its commands. Default: those of `ublk`.
 */
export async function answer(
  args: readonly string[],
  program?: Syntax | CommandSet,
): Promise<number> {
  const [shell, ...words] = args as [Shell, ...string[]];
  const line = shell === "bash" ? glued(words) : words;
  const suggested = await suggest(line.length === 0 ? [""] : line, devices, program);
  await writeText(answerText(shell, words.at(-1) ?? "", line.at(-1) ?? "", suggested));
  return EXIT_OK;
}

const devices: Devices = async () => await (await import("../devices/ids.ts")).deviceIds();

/**
 * Rejoins bash's words. bash also splits a line at `=` and `:`, and passes these as separate words.
 */
export function glued(words: readonly string[]): string[] {
  const typed: string[] = [];
  for (const [at, word] of words.entries()) {
    const isPart = /^[=:]/.test(word) || /[=:]$/.test(words[at - 1] ?? "");
    if (isPart && typed.length > 0) typed.push(typed.pop()! + word);
    else typed.push(word);
  }
  return typed;
}

/**
 * Formats an answer for a shell.
 *
 * @param piece The shell's own last word.
 * @param word The word at the cursor, as typed.
 */
export function answerText(
  shell: Shell,
  piece: string,
  word: string,
  { words, files, noSpace }: Answer,
): string {
  // bash and zsh complete the rest after the fixed part of a word; fish completes the whole word.
  const certain = shell === "bash"
    ? word.length - piece.replace(/^[=:]$/, "").length
    : shell === "zsh"
    ? /^--[^=]*=/.exec(word)?.[0].length ?? 0
    : 0;
  const lines = words.map(({ text, help }) => {
    const rest = text.slice(certain);
    if (shell === "bash") return rest;
    if (shell === "fish") return help === "" ? rest : `${rest}\t${help}`;
    return [rest.replaceAll(/[\\:]/g, "\\$&"), ...(help === "" ? [] : [help])].join(":");
  });
  return [...lines, `:${files ? "files" : ""}${noSpace ? " nospace" : ""}`].join("\n");
}
