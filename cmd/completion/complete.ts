/**
 * `ublk __complete`: what a shell can suggest where the cursor is. The scripts of
 * `ublk completions` ask it, each in its own way.
 *
 * @module
 */

import { writeText } from "../program/print.ts";
import { EXIT_OK } from "../program/run.ts";
import type { Syntax } from "../line/flags.ts";
import type { Answer, Devices } from "./offer.ts";
import { suggest } from "./suggest.ts";

/** The shells. */
export const SHELLS = ["bash", "zsh", "fish"] as const;

type Shell = typeof SHELLS[number];

/**
 * Answers a shell: a suggestion in each line, and in a last one that begins with a colon what else
 * the shell is to do: add files, and put no blank behind the word.
 *
 * @param args The shell, and the words of the line behind the program's name up to the cursor.
 * @param program The syntax of a program without commands; that of `ublk` where left out.
 */
export async function answer(args: readonly string[], program?: Syntax): Promise<number> {
  const [shell, ...words] = args as [Shell, ...string[]];
  const line = shell === "bash" ? glued(words) : words;
  const suggested = await suggest(line.length === 0 ? [""] : line, devices, program);
  await writeText(answerText(shell, words.at(-1) ?? "", line.at(-1) ?? "", suggested));
  return EXIT_OK;
}

const devices: Devices = async () => await (await import("../devices/ids.ts")).deviceIds();

/**
 * bash takes a line apart at `=` and `:` too, and has them as words of their own: together again, they
 * are the words that were typed.
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
 * An answer in the way of a shell.
 *
 * @param piece The shell's own last word.
 * @param word The word at the cursor, as it was typed.
 */
export function answerText(
  shell: Shell,
  piece: string,
  word: string,
  { words, files, noSpace }: Answer,
): string {
  // bash and zsh complete what stands behind the part that is certain, fish the word.
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
