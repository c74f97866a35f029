/**
 * Suggestions for a command line, made from the same data as the help. This module is independent
 * of shells.
 *
 * @module
 */

import type { Command } from "../line/command.ts";
import { COMMANDS, findCommand, syntaxOf } from "../line/commands.ts";
import type { Syntax } from "../line/flags.ts";
import type { Answer, Devices, Offer, Word } from "./offer.ts";
import { flagWords, onLine } from "./on_line.ts";

const NOTHING: Offer = {};

/** A program with commands of its own. */
export interface CommandSet {
  /** Its commands. */
  readonly commands: readonly Command[];
  /** Finds one by name. */
  find(name: string): Command | undefined;
  /** The syntax of one. */
  syntaxOf(command: Command): Syntax;
}

/**
 * Suggests words.
 *
 * @param line The words after the program's name, up to the one at the cursor.
 * @param program The syntax of a program, or its commands. Default: those of `ublk`.
 */
export async function suggest(
  line: readonly string[],
  devices: Devices,
  program?: Syntax | CommandSet,
): Promise<Answer> {
  const word = line.at(-1)!;
  const offer = await offerFor(line, devices, program);
  const words = (offer.words ?? []).filter(({ text }) => text.startsWith(word));
  return { words, files: offer.files === true, noSpace: offer.noSpace === true };
}

async function offerFor(
  line: readonly string[],
  devices: Devices,
  program: Syntax | CommandSet | undefined,
): Promise<Offer> {
  if (program !== undefined && "commands" in program) {
    return await onCommandLine(line, devices, program);
  }
  if (program !== undefined) return await onLine(program, line, () => Promise.resolve([]));
  const [name, ...rest] = line;
  if (rest.length === 0) return firstWord(name, COMMANDS);
  if (name === "kublk") return await offerFor(rest, devices, program);
  if (name === "help") return rest.length === 1 ? { words: commandWords(COMMANDS) } : NOTHING;
  const command = findCommand(name);
  if (command === undefined) return NOTHING;
  if (command.name === "add" || command.name === "recover") {
    return await (await import("./suggest_add.ts")).onServingLine(command.name, rest, devices);
  }
  return await onLine(await syntaxOf(command, []), rest, devices);
}

async function onCommandLine(
  [name, ...rest]: readonly string[],
  devices: Devices,
  { commands, find, syntaxOf }: CommandSet,
): Promise<Offer> {
  if (rest.length === 0) return firstWord(name, commands);
  if (name === "help") return rest.length === 1 ? { words: commandWords(commands) } : NOTHING;
  const command = find(name);
  return command === undefined ? NOTHING : await onLine(syntaxOf(command), rest, devices);
}

function commandWords(commands: readonly Command[]): Word[] {
  return commands.map(({ name, summary }) => ({ text: name, help: summary }));
}

function firstWord(word: string, commands: readonly Command[]): Offer {
  if (word.startsWith("-")) return { words: flagWords([]) };
  return {
    words: [
      ...commandWords(commands),
      { text: "help", help: "explain a command" },
      { text: "version", help: "print the version" },
    ],
  };
}
