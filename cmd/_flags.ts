/**
 * The flags of a command as data, and how a command line is read by them. The help text is made
 * from the same data (`_help.ts`), so that the two cannot disagree.
 *
 * `@std/cli` takes the words apart; what is here knows what they mean, and has one line for each
 * way of getting them wrong.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { parseSize } from "../backends/size.ts";
import { UblkError } from "../uapi/error.ts";

/** One flag. */
export interface Flag {
  /** Without the dashes. */
  readonly name: string;
  /** One letter. */
  readonly short?: string;
  /** What it takes: nothing, nothing but it may be repeated, a size, or a whole number. */
  readonly kind: "switch" | "count" | "size" | "integer";
  /** What its value stands for in the help; the kind where left out. */
  readonly placeholder?: string;
  /** Whether the command needs it. */
  readonly required?: true;
  /** The least value. */
  readonly min?: number;
  /** The greatest value. */
  readonly max?: number;
  /** What a value must be a multiple of. */
  readonly multipleOf?: number;
  /** The only values that there are. */
  readonly choices?: readonly number[];
  /** What it does, for the help; a line break is kept. */
  readonly help: string;
}

/** What a command, or one command of several in a program, is called and takes. */
export interface Syntax {
  /** As it is typed: `ublk-mem`, `ublk list`. */
  readonly name: string;
  /** What it does, in a few words. */
  readonly summary: string;
  /** What it takes beside {@linkcode COMMON_FLAGS}. */
  readonly flags: readonly Flag[];
  /** More paragraphs for the help. */
  readonly notes?: string;
}

/** The flags that every command has. */
export const COMMON_FLAGS = [
  { name: "help", short: "h", kind: "switch", help: "Print this and exit." },
  { name: "version", kind: "switch", help: "Print the version and exit." },
] as const satisfies readonly Flag[];

type ValueOf<F extends Flag> = F extends { kind: "switch" } ? boolean
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
  if (args.includes("--help") || args.includes("-h")) return "help";
  return args.includes("--version") ? "version" : undefined;
}

/**
 * Reads a command line.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` with one line that names the cause and the remedy.
 */
export function parseFlags<const F extends readonly Flag[]>(
  name: string,
  flags: F,
  args: readonly string[],
): Values<F> {
  const seeHelp = `see \`${name} --help\``;
  const isSwitch = ({ kind }: Flag) => kind === "switch" || kind === "count";
  const found = parseArgs(joinValues(flags, args, seeHelp), {
    string: flags.filter((flag) => !isSwitch(flag)).map((flag) => flag.name),
    boolean: flags.filter(isSwitch).map((flag) => flag.name),
    // Everything is collected: what is given twice shall not win in silence.
    collect: flags.map((flag) => flag.name),
    alias: Object.fromEntries(flags.flatMap((flag) => flag.short ? [[flag.name, flag.short]] : [])),
    unknown: (arg, key) => {
      if (key === undefined) throw usageError(arg, "unexpected argument", seeHelp);
      throw usageError(arg.split("=")[0], "unknown flag", seeHelp);
    },
  }) as Record<string, unknown> & { _: unknown[] };
  // After "--" everything is an argument, and there are none.
  if (found._.length > 0) throw usageError(`${found._[0]}`, "unexpected argument", seeHelp);
  const values: Record<string, unknown> = {};
  for (const flag of flags as readonly Flag[]) {
    values[flag.name] = valueOf(flag, found[flag.name] as unknown[], seeHelp);
  }
  return values as Values<F>;
}

/**
 * `--size 1G` as `--size=1G`, so that a negative number is a value and a forgotten one is noticed:
 * by itself the parser takes the former for flags and the latter for an empty text.
 */
function joinValues(flags: readonly Flag[], args: readonly string[], seeHelp: string): string[] {
  const joined: string[] = [];
  for (let at = 0; at < args.length; at++) {
    const arg = args[at];
    if (arg === "--") return [...joined, ...args.slice(at)];
    const [dashed, attached] = splitOnce(arg);
    const flag = flags.find(({ name, short }) => dashed === `--${name}` || dashed === `-${short}`);
    if (flag === undefined) {
      joined.push(arg);
    } else if (flag.kind === "switch" || flag.kind === "count") {
      if (attached !== undefined) throw usageError(dashed, "it takes no value", seeHelp);
      joined.push(arg);
    } else {
      const next = attached ?? args[++at];
      if (next === undefined || next === "" || /^--?[a-z]/i.test(next)) {
        throw usageError(dashed, "it needs a value", seeHelp);
      }
      joined.push(`--${flag.name}=${next}`);
    }
  }
  return joined;
}

function splitOnce(arg: string): [string, string | undefined] {
  const at = arg.indexOf("=");
  return at < 0 ? [arg, undefined] : [arg.slice(0, at), arg.slice(at + 1)];
}

function valueOf(flag: Flag, given: readonly unknown[], seeHelp: string): unknown {
  if (flag.kind === "count") return given.length;
  if (flag.kind === "switch") return given.length > 0;
  const what = `--${flag.name}`;
  if (given.length > 1) throw usageError(what, "it is given more than once", "give it once");
  if (given.length === 0) {
    if (flag.required) throw usageError(what, "it is missing", seeHelp);
    return undefined;
  }
  const text = String(given[0]);
  const value = flag.kind === "size" ? sizeOf(what, text) : integerOf(what, text);
  checkValue(what, text, value, flag);
  return value;
}

function sizeOf(what: string, text: string): number {
  try {
    return parseSize(text);
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) {
      throw usageError(what, error.message);
    }
    throw error;
  }
}

function integerOf(what: string, text: string): number {
  const value = /^-?\d+$/.test(text) ? Number(text) : NaN;
  if (Number.isSafeInteger(value)) return value;
  throw usageError(what, `${JSON.stringify(text)} is not a whole number`, "give one in digits");
}

function checkValue(what: string, text: string, value: number, flag: Flag): void {
  const { min = -Infinity, max = Infinity, multipleOf = 1, choices } = flag;
  if (choices !== undefined && !choices.includes(value)) {
    throw usageError(what, `${text} is not possible`, `use one of ${choices.join(", ")}`);
  }
  if (value < min || value > max) {
    throw usageError(what, `${text} is out of range`, `use ${min} to ${max}`);
  }
  if (value % multipleOf !== 0) {
    const near = Math.ceil(value / multipleOf) * multipleOf;
    throw usageError(what, `${text} is not a multiple of ${multipleOf}`, `${near} is`);
  }
}
