/**
 * The flags of a command as data, and how a command line is read by them. The help text is made
 * from the same data (`help.ts`), so that the two cannot disagree.
 *
 * `@std/cli` takes the words apart; what is here knows what they mean, and has one line for each
 * way of getting them wrong.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { type Option, OptionError, type OptionKind, readValue } from "../../disk/option.ts";
import { UblkError } from "../../uapi/error.ts";
import { deviceNumber } from "./device_name.ts";
import { misspelt } from "../program/misspelt.ts";

/** One flag: an option as it is typed. */
export interface Flag extends Omit<Option, "kind" | "first"> {
  /** One letter. */
  readonly short?: string;
  /** Other names, without the dashes: those of `kublk`. */
  readonly aliases?: readonly string[];
  /** As of an option, or a switch that is counted. */
  readonly kind: OptionKind | "count";
  /** A switch that takes 0 or 1 all the same if it follows the long name, as `getopt` has it. */
  readonly takesBit?: true;
  /** It may be given several times: its value is a list. For texts and whole numbers. */
  readonly repeated?: true;
  /** A whole number that stands for a device, which may be called by its node too. */
  readonly device?: true;
}

/** What a command, or one command of several in a program, is called and takes. */
export interface Syntax {
  /** As it is typed: `ublk-mem`, `ublk list`. */
  readonly name: string;
  /** What it does, in a few words. */
  readonly summary: string;
  /** What it takes beside {@linkcode COMMON_FLAGS}. */
  readonly flags: readonly Flag[];
  /** What else stands on its command line, such as `FILE…`. */
  readonly operands?: string;
  /**
   * The flags whose values stand on its command line without a name too, in order. One that is
   * repeated takes all words that are left.
   */
  readonly words?: readonly string[];
  /** More paragraphs for the help. */
  readonly notes?: string;
  /** Command lines as they are typed, for the help. */
  readonly examples?: readonly string[];
  /** Flags that come first in the help, under a heading of their own: those of a target. */
  readonly own?: { readonly heading: string; readonly flags: readonly Flag[] };
  /** Names of the flags that the short help has; all of them where left out. */
  readonly common?: readonly string[];
  /** The flags beyond the common ones in groups, by their names; what is in none comes last. */
  readonly groups?: readonly FlagGroup[];
}

/** Flags that belong together in the full help. */
export interface FlagGroup {
  /** Its heading. */
  readonly heading: string;
  /** The names of its flags. */
  readonly names: readonly string[];
}

/** The flags that every command has. */
export const COMMON_FLAGS = [
  { name: "help", short: "h", kind: "switch", help: "Print this and exit; --help=all: all of it." },
  { name: "version", short: "V", kind: "switch", help: "Print the version and exit." },
] as const satisfies readonly Flag[];

type ValueOf<F extends Flag> = F extends { kind: "switch" } ? boolean
  : F extends { kind: "integer"; repeated: true } ? readonly number[]
  : F extends { repeated: true } ? readonly string[]
  : F extends { kind: "text" | "path"; required: true } ? string
  : F extends { kind: "text" | "path" } ? string | undefined
  : F extends { kind: "count" } | { required: true } ? number
  : number | undefined;

/** The values of flags, by name. */
export type Values<F extends readonly Flag[]> = {
  readonly [K in F[number] as K["name"]]: ValueOf<K>;
};

/** A mistake on the command line: `what: cause; remedy`, in one line. */
export function usageError(what: string, cause: string, remedy?: string): UblkError {
  return new UblkError("INVALID_ARGUMENT", { operation: what, reason: cause, hint: remedy });
}

/** Whether a command line asks for the help or the version, which comes before any mistake in it. */
export function asksFor(args: readonly string[]): "help" | "version" | undefined {
  const end = args.indexOf("--");
  const flags = end < 0 ? args : args.slice(0, end);
  if (flags.some((flag) => flag === "-h" || /^--help(=|$)/.test(flag))) return "help";
  return flags.includes("--version") || flags.includes("-V") ? "version" : undefined;
}

/** Whether all of the help is wanted: `--help=all`. */
export function wantsAll(args: readonly string[]): boolean {
  return args.includes("--help=all");
}

/** A command line, read. */
export interface CommandLine<F extends readonly Flag[]> {
  /** The values of its flags. */
  readonly values: Values<F>;
  /** What else stands on it, wherever. */
  readonly words: readonly string[];
}

/**
 * Reads a command line that consists of flags alone.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` with one line that names the cause and the remedy.
 */
export function parseFlags<const F extends readonly Flag[]>(
  name: string,
  flags: F,
  args: readonly string[],
): Values<F> {
  const seeHelp = `see \`${name} --help\``;
  const { values, words } = parseLine(flags, args, { seeHelp, unknown: seeHelp });
  if (words.length > 0) throw usageError(words[0], "unexpected argument", seeHelp);
  return values;
}

/** What to tell somebody who is mistaken. */
export interface Remedies {
  /** Where the help is. */
  readonly seeHelp: string;
  /** What to do about a flag that is not there. */
  readonly unknown: string;
  /** As {@linkcode Syntax.words}. */
  readonly words?: readonly string[];
}

/**
 * Reads a command line of flags and other words, in any order.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` with one line that names the cause and the remedy.
 */
export function parseLine<const F extends readonly Flag[]>(
  flags: F,
  args: readonly string[],
  remedies: Remedies,
): CommandLine<F> {
  const line = canonical(flags, args, remedies);
  const found = parseArgs(withWords(flags, line, remedies.words), {
    // Words stay as they are typed, also those that look like numbers.
    string: ["_", ...flags.filter((flag) => !isSwitch(flag)).map((flag) => flag.name)],
    boolean: flags.filter(isSwitch).map((flag) => flag.name),
    // Everything is collected: what is given twice shall not win in silence.
    collect: flags.map((flag) => flag.name),
  }) as Record<string, unknown> & { _: unknown[] };
  const values: Record<string, unknown> = {};
  for (const flag of flags as readonly Flag[]) {
    values[flag.name] = valueOf(flag, found[flag.name] as unknown[], remedies.seeHelp);
  }
  return { values: values as Values<F>, words: found._.map(String) };
}

function isSwitch({ kind }: Flag): boolean {
  return kind === "switch" || kind === "count";
}

/**
 * Every flag as `--name` or `--name=value`: aliases, single letters (`-q2`, `-zu`), underscores,
 * and values that stand apart. So a negative number is a value and a forgotten one is noticed: by
 * itself the parser takes the former for flags and the latter for an empty text.
 */
function canonical(flags: readonly Flag[], args: readonly string[], remedies: Remedies): string[] {
  const given: string[] = [];
  const words: string[] = [];
  const left = [...args];
  while (left.length > 0) {
    const arg = left.shift()!;
    if (arg === "--") {
      words.push(...left.splice(0));
    } else if (!arg.startsWith("-") || arg === "-") {
      words.push(arg);
    } else {
      given.push(...oneFlag(flags, arg, left, remedies));
    }
  }
  return [...given, "--", ...words];
}

/** A line of {@linkcode canonical} whose words have become values of the flags that take them. */
function withWords(
  flags: readonly Flag[],
  line: readonly string[],
  names: readonly string[] = [],
): string[] {
  const end = line.indexOf("--");
  const given = line.slice(0, end);
  const words = line.slice(end + 1);
  for (const name of names) {
    const isGiven = given.some((arg) => arg.startsWith(`--${name}=`));
    const isRepeated = flags.find((flag) => flag.name === name)?.repeated === true;
    if (isGiven && !isRepeated) continue;
    given.push(...words.splice(0, isRepeated ? Infinity : 1).map((word) => `--${name}=${word}`));
  }
  return [...given, "--", ...words];
}

/**
 * Which flags are given on a command line, by their names, and what else stands on it.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` with one line that names the cause and the remedy.
 */
export function givenFlags(
  flags: readonly Flag[],
  args: readonly string[],
  remedies: Remedies,
): [given: Set<string>, words: string[]] {
  const all = canonical(flags, args, remedies);
  const end = all.indexOf("--");
  return [new Set(all.slice(0, end).map((arg) => splitOnce(arg)[0].slice(2))), all.slice(end + 1)];
}

/**
 * A command line with its clusters of letters taken apart, as far as they are known: `-uvvt loop` is
 * `-u -v -v -t loop`. For those who look for one flag before all of the line can be read.
 */
export function spreadLetters(flags: readonly Flag[], args: readonly string[]): string[] {
  const end = args.indexOf("--");
  const given = end < 0 ? args : args.slice(0, end);
  return [...given.flatMap((arg) => lettersOf(flags, arg)), ...end < 0 ? [] : args.slice(end)];
}

function lettersOf(flags: readonly Flag[], arg: string): string[] {
  if (!/^-[a-z][^=]/i.test(arg)) return [arg];
  const spread: string[] = [];
  for (let at = 1; at < arg.length; at++) {
    const flag = findFlag(flags, `-${arg[at]}`);
    // A mistake is shown as it was typed.
    if (flag === undefined) return [arg];
    if (!isSwitch(flag)) return [...spread, `-${arg.slice(at)}`];
    spread.push(`-${arg[at]}`);
  }
  return spread;
}

/** One argument that begins with a dash, and its value if that is the next one. */
function oneFlag(
  flags: readonly Flag[],
  arg: string,
  left: string[],
  remedies: Remedies,
): string[] {
  const { seeHelp, unknown } = remedies;
  if (!arg.startsWith("--") && arg.length > 2 && arg[2] !== "=") {
    return letters(flags, arg, left, remedies);
  }
  const [dashed, attached] = splitOnce(arg);
  const flag = findFlag(flags, dashed);
  if (flag === undefined) throw unknownFlag(flags, dashed, unknown);
  if (!isSwitch(flag)) {
    return [`--${flag.name}=${valueAfter(flag, dashed, attached, left, seeHelp)}`];
  }
  const bit = attached ?? (flag.takesBit && dashed.startsWith("--") ? left[0] : undefined);
  if (flag.takesBit && (bit === "0" || bit === "1")) {
    if (attached === undefined) left.shift();
    return bit === "1" ? [`--${flag.name}`] : [];
  }
  if (attached !== undefined) throw usageError(dashed, "it takes no value", seeHelp);
  return [`--${flag.name}`];
}

/** `-zu` is `-z -u`, and `-q2` is `-q 2`. */
function letters(
  flags: readonly Flag[],
  arg: string,
  left: string[],
  { seeHelp, unknown }: Remedies,
): string[] {
  const given: string[] = [];
  for (let at = 1; at < arg.length; at++) {
    const flag = findFlag(flags, `-${arg[at]}`);
    if (flag === undefined) throw usageError(arg, "unknown flag", unknown);
    if (isSwitch(flag)) {
      given.push(`--${flag.name}`);
      continue;
    }
    const attached = at + 1 < arg.length ? arg.slice(at + 1) : undefined;
    return [...given, `--${flag.name}=${valueAfter(flag, `-${arg[at]}`, attached, left, seeHelp)}`];
  }
  return given;
}

/** The flag of a name with one or two dashes; `_` and `-` are the same. */
export function findFlag(flags: readonly Flag[], dashed: string): Flag | undefined {
  if (!dashed.startsWith("--")) return flags.find(({ short }) => dashed === `-${short}`);
  const name = dashed.slice(2).replaceAll("_", "-");
  return flags.find((flag) => flag.name === name || flag.aliases?.includes(name));
}

function unknownFlag(flags: readonly Flag[], dashed: string, remedy: string): UblkError {
  const error = usageError(dashed, "unknown flag", remedy);
  if (!dashed.startsWith("--")) return error;
  const names = [...flags, ...COMMON_FLAGS as readonly Flag[]]
    .flatMap(({ name, aliases = [] }) => [name, ...aliases]);
  return misspelt(error, dashed.slice(2), names, (meant) => `did you mean --${meant}?`);
}

function valueAfter(
  { choices }: Flag,
  dashed: string,
  attached: string | undefined,
  left: string[],
  seeHelp: string,
): string {
  const value = attached ?? left.shift();
  const isFlag = attached === undefined && /^--?[a-z]/i.test(value ?? "");
  if (value === undefined || value === "" || isFlag) {
    const remedy = choices === undefined ? seeHelp : `use one of ${choices.join(", ")}`;
    throw usageError(dashed, "it needs a value", remedy);
  }
  return value;
}

function splitOnce(arg: string): [string, string | undefined] {
  const at = arg.indexOf("=");
  return at < 0 ? [arg, undefined] : [arg.slice(0, at), arg.slice(at + 1)];
}

function valueOf(flag: Flag, given: readonly unknown[], seeHelp: string): unknown {
  if (flag.kind === "count") return given.length;
  if (flag.kind === "switch") return given.length > 0;
  if (given.length === 0 && flag.required) throw missing(flag, seeHelp);
  if (flag.repeated) return given.map((one) => oneValue(flag, String(one)));
  if (given.length > 1) {
    throw usageError(`--${flag.name}`, "it is given more than once", "give it once");
  }
  return given.length === 0 ? undefined : oneValue(flag, String(given[0]));
}

function missing({ name, device }: Flag, seeHelp: string): UblkError {
  return device
    ? usageError("DEVICE", "it is missing", "give its number, or /dev/ublkbN")
    : usageError(`--${name}`, "it is missing", seeHelp);
}

function oneValue(flag: Flag, text: string): unknown {
  const what = `--${flag.name}`;
  if (flag.device) text = deviceNumber(text);
  try {
    return readValue(flag as Option, text);
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    const mistake = usageError(what, error.message, error.remedy);
    const choices = flag.choices?.filter((choice) => typeof choice === "string") ?? [];
    throw misspelt(mistake, text, choices);
  }
}
