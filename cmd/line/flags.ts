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
  /** It may be given several times: its value is a list. For texts. */
  readonly repeated?: true;
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
  /** More paragraphs for the help. */
  readonly notes?: string;
}

/** The flags that every command has. */
export const COMMON_FLAGS = [
  { name: "help", short: "h", kind: "switch", help: "Print this and exit." },
  { name: "version", kind: "switch", help: "Print the version and exit." },
] as const satisfies readonly Flag[];

type ValueOf<F extends Flag> = F extends { kind: "switch" } ? boolean
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
  if (flags.includes("--help") || flags.includes("-h")) return "help";
  return flags.includes("--version") ? "version" : undefined;
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
  const found = parseArgs(canonical(flags, args, remedies), {
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
  if (flag === undefined) throw usageError(dashed, "unknown flag", unknown);
  if (!isSwitch(flag)) return [`--${flag.name}=${valueAfter(dashed, attached, left, seeHelp)}`];
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
    return [...given, `--${flag.name}=${valueAfter(`-${arg[at]}`, attached, left, seeHelp)}`];
  }
  return given;
}

/** The flag of a name with one or two dashes; `_` and `-` are the same. */
export function findFlag(flags: readonly Flag[], dashed: string): Flag | undefined {
  if (!dashed.startsWith("--")) return flags.find(({ short }) => dashed === `-${short}`);
  const name = dashed.slice(2).replaceAll("_", "-");
  return flags.find((flag) => flag.name === name || flag.aliases?.includes(name));
}

function valueAfter(
  dashed: string,
  attached: string | undefined,
  left: string[],
  seeHelp: string,
): string {
  const value = attached ?? left.shift();
  const isFlag = attached === undefined && /^--?[a-z]/i.test(value ?? "");
  if (value === undefined || value === "" || isFlag) {
    throw usageError(dashed, "it needs a value", seeHelp);
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
  if (flag.repeated) return given.map(String);
  const what = `--${flag.name}`;
  if (given.length > 1) throw usageError(what, "it is given more than once", "give it once");
  if (given.length === 0) {
    if (flag.required) throw usageError(what, "it is missing", seeHelp);
    return undefined;
  }
  try {
    return readValue(flag as Option, String(given[0]));
  } catch (error) {
    if (error instanceof OptionError) throw usageError(what, error.message, error.remedy);
    throw error;
  }
}
