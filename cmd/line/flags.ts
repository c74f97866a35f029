/**
 * The flags of a command as data, and the parser of command lines. The help is made from the same
 * data (`help.ts`), so the two cannot disagree.
 *
 * `@std/cli` splits the words. This module knows their meaning, and has a one-line error for every
 * kind of mistake.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { type Option, OptionError, type OptionKind, readValue } from "../../disk/option.ts";
import { UblkError } from "../../uapi/error.ts";
import { deviceNumber } from "./device_name.ts";
import { misspelt } from "../program/misspelt.ts";

/** One flag: an option on a command line. */
export interface Flag extends Omit<Option, "kind" | "first"> {
  /** One letter. */
  readonly short?: string;
  /** Other names, without dashes: kublk's. */
  readonly aliases?: readonly string[];
  /** The kind of an option, or a switch that counts its occurrences. */
  readonly kind: OptionKind | "count";
  /** The switch accepts 0 or 1 after its long name, as with `getopt`. */
  readonly takesBit?: true;
  /** The flag may be repeated; its value is a list. For texts and integers. */
  readonly repeated?: true;
  /** The integer is a device number, and may also be given as the device's node. */
  readonly device?: true;
}

/** The syntax of a program, or of one command of a program. */
export interface Syntax {
  /** Its name as typed: `ublk-mem`, `ublk list`. */
  readonly name: string;
  /** A short description. */
  readonly summary: string;
  /** The flags besides {@linkcode COMMON_FLAGS}. */
  readonly flags: readonly Flag[];
  /** The operands on its command line, such as `FILE…`. */
  readonly operands?: string;
  /**
   * Flags whose values can also be given as words, in order. A repeated flag takes all remaining
   * words.
   */
  readonly words?: readonly string[];
  /** More paragraphs for the help. */
  readonly notes?: string;
  /** Example command lines for the help. */
  readonly examples?: readonly string[];
  /** Flags shown first in the help under their own heading: the target's. */
  readonly own?: { readonly heading: string; readonly flags: readonly Flag[] };
  /** Names of the flags in the short help; all flags if undefined. */
  readonly common?: readonly string[];
  /** Groups for the flags beyond the common ones, by name; flags in no group come last. */
  readonly groups?: readonly FlagGroup[];
}

/** A group of related flags in the full help. */
export interface FlagGroup {
  /** Its heading. */
  readonly heading: string;
  /** The names of its flags. */
  readonly names: readonly string[];
}

/** The flags of every command. */
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

/** Creates an error about the command line: `what: cause; remedy`, in one line. */
export function usageError(what: string, cause: string, remedy?: string): UblkError {
  return new UblkError("INVALID_ARGUMENT", { operation: what, reason: cause, hint: remedy });
}

/**
 * Whether a command line asks for help or the version. Either takes precedence over any mistake.
 */
export function asksFor(args: readonly string[]): "help" | "version" | undefined {
  const end = args.indexOf("--");
  const flags = end < 0 ? args : args.slice(0, end);
  if (flags.some((flag) => flag === "-h" || /^--help(=|$)/.test(flag))) return "help";
  return flags.includes("--version") || flags.includes("-V") ? "version" : undefined;
}

/** Whether the full help is requested: `--help=all`. */
export function wantsAll(args: readonly string[]): boolean {
  return args.includes("--help=all");
}

/** A parsed command line. */
export interface CommandLine<F extends readonly Flag[]> {
  /** The values of its flags. */
  readonly values: Values<F>;
  /** The words that are not flags, in order. */
  readonly words: readonly string[];
}

/**
 * Parses a command line that consists of flags only.
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

/** Remedies shown in errors. */
export interface Remedies {
  /** The place of the help. */
  readonly seeHelp: string;
  /** The remedy for an unknown flag. */
  readonly unknown: string;
  /** The same as {@linkcode Syntax.words}. */
  readonly words?: readonly string[];
}

/**
 * Parses a command line of flags and other words, in any order.
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
    // Words stay strings, even if they look like numbers.
    string: ["_", ...flags.filter((flag) => !isSwitch(flag)).map((flag) => flag.name)],
    boolean: flags.filter(isSwitch).map((flag) => flag.name),
    // Collect every value: if a flag is given twice, none may win silently.
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
 * Rewrites every flag as `--name` or `--name=value`: aliases, single letters (`-q2`, `-zu`),
 * underscores, and separate values. This makes negative numbers values, and detects missing values.
 * The parser itself takes a negative number for flags, and a missing value for an empty string.
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

/** Replaces words in a {@linkcode canonical} line by the flags that take them. */
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
 * The names of the flags on a command line, and its other words.
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
 * Splits clusters of known letters: `-uvvt loop` becomes `-u -v -v -t loop`. For code that looks
 * for one flag before the whole line can be parsed.
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
    // Errors show the argument as typed.
    if (flag === undefined) return [arg];
    if (!isSwitch(flag)) return [...spread, `-${arg.slice(at)}`];
    spread.push(`-${arg[at]}`);
  }
  return spread;
}

/** Parses one argument that begins with a dash, and its value if that is the next argument. */
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

/** Splits `-zu` into `-z -u`, and `-q2` into `-q 2`. */
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

/** Finds a flag by its name with one or two dashes; `_` and `-` are equivalent. */
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
