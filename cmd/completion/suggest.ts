/**
 * Suggestions for a command line, made from the same data as the help. This module is independent
 * of shells.
 *
 * @module
 */

import { COMMANDS, findCommand, syntaxOf } from "../line/commands.ts";
import type { Syntax } from "../line/flags.ts";
import type { Answer, Devices, Offer, Word } from "./offer.ts";
import { flagWords, onLine } from "./on_line.ts";

const NOTHING: Offer = {};

/**
 * Suggests words.
 *
 * @param line The words after the program's name, up to the one at the cursor.
 * @param program The syntax of a program without commands. Default: that of `ublk`.
 */
export async function suggest(
  line: readonly string[],
  devices: Devices,
  program?: Syntax,
): Promise<Answer> {
  const word = line.at(-1)!;
  const offer = await offerFor(line, devices, program);
  const words = (offer.words ?? []).filter(({ text }) => text.startsWith(word));
  return { words, files: offer.files === true, noSpace: offer.noSpace === true };
}

async function offerFor(
  line: readonly string[],
  devices: Devices,
  program: Syntax | undefined,
): Promise<Offer> {
  if (program !== undefined) return await onLine(program, line, () => Promise.resolve([]));
  const [name, ...rest] = line;
  if (rest.length === 0) return firstWord(name);
  if (name === "kublk") return await offerFor(rest, devices, program);
  if (name === "help") return rest.length === 1 ? { words: commandWords() } : NOTHING;
  const command = findCommand(name);
  if (command === undefined) return NOTHING;
  if (command.name === "add" || command.name === "recover") {
    return await (await import("./suggest_add.ts")).onServingLine(command.name, rest, devices);
  }
  return await onLine(await syntaxOf(command, []), rest, devices);
}

function commandWords(): Word[] {
  return COMMANDS.map(({ name, summary }) => ({ text: name, help: summary }));
}

function firstWord(word: string): Offer {
  if (word.startsWith("-")) return { words: flagWords([]) };
  return {
    words: [
      ...commandWords(),
      { text: "help", help: "explain a command" },
      { text: "version", help: "print the version" },
    ],
  };
}
