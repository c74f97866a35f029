/**
 * What can stand where the cursor is on a command line, made from what the help is made from. It knows
 * nothing of any shell.
 *
 * @module
 */

import type { Option } from "../../disk/option.ts";
import { COMMANDS, findCommand, syntaxOf } from "./commands.ts";
import { COMMON_FLAGS, findFlag, type Flag, type Syntax } from "./flags.ts";

/** A word, and what it means. */
export interface Word {
  /** As it is typed. */
  readonly text: string;
  /** In a few words, or nothing. */
  readonly help: string;
}

/** What can stand there. */
export interface Answer {
  /** Whole words that begin as the one at the cursor does. */
  readonly words: readonly Word[];
  /** Files too. */
  readonly files: boolean;
  /** The word goes on. */
  readonly noSpace: boolean;
}

/** The numbers of the devices that there are. */
export type Devices = () => Promise<readonly number[]>;

/** Suggestions, whatever the word at the cursor begins with. */
export interface Offer {
  readonly words?: readonly Word[];
  readonly files?: boolean;
  readonly noSpace?: boolean;
}

const NOTHING: Offer = {};

/**
 * Suggests words.
 *
 * @param line The words behind the program's name, up to the one at the cursor.
 * @param program The syntax of a program without commands; that of `ublk` where left out.
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

/** The line of a command, behind its name. */
export async function onLine(
  syntax: Pick<Syntax, "flags" | "operands" | "words">,
  line: readonly string[],
  devices: Devices,
): Promise<Offer> {
  const { flags, operands = "", words: names = [] } = syntax;
  const word = line.at(-1)!;
  const value = flagAtCursor(flags, line);
  if (value !== undefined) return await valueOffer(value.flag, value.prefix, word, devices);
  if (word.startsWith("-") && !line.slice(0, -1).includes("--")) {
    return { words: flagWords(flags) };
  }
  if (names.includes("id")) return { words: await deviceWords(word, devices) };
  const placeholders = operands.replaceAll(/[[\]…]/g, "").split(" ");
  if (/^[a-z]+(\|[a-z]+)+$/.test(placeholders[0])) {
    return { words: placeholders[0].split("|").map((text) => ({ text, help: "" })) };
  }
  return { files: placeholders.some(isFile) };
}

/** The flags as they are typed, those that every command has among them. */
function flagWords(flags: readonly Flag[]): Word[] {
  return [...flags, ...COMMON_FLAGS].flatMap(({ name, short, help }: Flag) => {
    const begun = beginning(help);
    const long = { text: `--${name}`, help: begun };
    return short === undefined ? [long] : [long, { text: `-${short}`, help: begun }];
  });
}

/** The flag whose value is at the cursor, and what of the word belongs to the flag. */
function flagAtCursor(
  flags: readonly Flag[],
  line: readonly string[],
): { flag: Flag; prefix: string } | undefined {
  const word = line.at(-1)!;
  const before = line.slice(0, -1);
  if (before.includes("--")) return undefined;
  const attached = /^(--[^=]+)=/.exec(word);
  if (attached !== null) {
    const flag = findFlag(flags, attached[1]);
    return flag === undefined ? undefined : { flag, prefix: attached[0] };
  }
  const last = before.at(-1) ?? "";
  // "-zt": the value is that of the last letter.
  const dashed = /^-[a-z]{2,}$/i.test(last) ? `-${last.at(-1)}` : last;
  const flag = /^-./.test(dashed) ? findFlag(flags, dashed) : undefined;
  const takesValue = flag !== undefined && flag.kind !== "switch" && flag.kind !== "count";
  return takesValue ? { flag, prefix: "" } : undefined;
}

async function valueOffer(
  flag: Flag,
  prefix: string,
  word: string,
  devices: Devices,
): Promise<Offer> {
  const typed = word.slice(prefix.length);
  const offer = await plainValue(flag, typed, devices);
  const words = offer.words?.map(({ text, help }) => ({ text: prefix + text, help }));
  return { ...offer, words };
}

async function plainValue(flag: Flag, typed: string, devices: Devices): Promise<Offer> {
  const { name, kind, choices = [], device } = flag;
  if (device) return { words: await deviceWords(typed, devices) };
  if (name === "output") {
    const { columnNames } = await import("../devices/list_columns.ts");
    return several(typed, ",", columnNames());
  }
  if (kind === "names") return several(typed, "+", choices.map(String));
  if (name === "wrap" || name === "type") {
    return await (await import("./suggest_add.ts")).nameOffer(name, typed);
  }
  return {
    words: choices.map((choice) => ({ text: `${choice}`, help: "" })),
    files: choices.length === 0 && (kind === "path" || isFile(flag.placeholder ?? "")),
  };
}

/** One more of several names that are joined. */
function several(typed: string, by: string, names: readonly string[]): Offer {
  const before = typed.slice(0, typed.lastIndexOf(by) + 1);
  return { words: names.map((name) => ({ text: before + name, help: "" })), noSpace: true };
}

/** Devices by their numbers, or as far as one is begun by a node, by that. */
export async function deviceWords(word: string, devices: Devices): Promise<Word[]> {
  const [, begun] = /^(\/dev\/ublkb|ublkb)/.exec(word) ?? [];
  const node = begun ?? (word.startsWith("/") ? "/dev/ublkb" : word.startsWith("u") ? "ublkb" : "");
  return (await devices()).map((id) => ({ text: `${node}${id}`, help: "" }));
}

/** Whether a placeholder stands for a file. */
export function isFile(placeholder: string): boolean {
  return ["FILE", "PATH", "FOLDER", "ARCHIVE"].includes(placeholder);
}

/** The first sentence of a help text, or what stands before its first semicolon. */
export function beginning(help: Option["help"]): string {
  return /^.*?(?=\.?$|\. |;)/.exec(help.replaceAll(/\s+/g, " "))![0];
}
