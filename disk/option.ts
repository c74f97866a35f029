/**
 * The options of targets, wrappers and commands: one schema, from which command lines, files of
 * options and programs are checked, and from which help and completions are made.
 *
 * @module
 */

import type { ByteRange } from "./geometry.ts";
import { parseSize } from "./size.ts";

/** What an option takes. */
export type OptionKind =
  /** Nothing: it is given or not. */
  | "switch"
  /** Bytes: a number, or a text with a unit. */
  | "size"
  /** A whole number. */
  | "integer"
  /** Any number. */
  | "number"
  /** A time, kept in milliseconds: a number, or a text with a unit. */
  | "time"
  /** A part of a disk in bytes: `FROM-TO`. */
  | "range"
  /** Several of its choices, joined by `+`. */
  | "names"
  /** A text. */
  | "text"
  /** The path of a file; a relative one counts from where it is written. */
  | "path"
  /** Any value that JSON can have. */
  | "json";

/** One option. */
export interface Option {
  /** In kebab case, without dashes. With underscores instead it is the same option. */
  readonly name: string;
  /** What it takes. */
  readonly kind: OptionKind;
  /**
   * The placeholder of its value in the help.
   *
   * @default The kind
   */
  readonly placeholder?: string;
  /** Of a wrapper's: on a command line its value may stand first without its name. */
  readonly first?: true;
  /** It must be given. */
  readonly required?: true;
  /** The least value. */
  readonly min?: number;
  /** The greatest value. */
  readonly max?: number;
  /** What a value must be a multiple of. */
  readonly multipleOf?: number;
  /** The only values that there are. */
  readonly choices?: readonly (number | string)[];
  /** What it does, for the help; a line break is kept. */
  readonly help: string;
}

/** Why a value is not one that its option can have. */
export class OptionError extends Error {
  /** What to do about it; some causes say so themselves. */
  readonly remedy: string | undefined;

  /** One cause and its remedy. */
  constructor(cause: string, remedy?: string) {
    super(cause);
    this.remedy = remedy;
  }
}

/**
 * The value of an option, from a text of a command line or from a value that a program or file has.
 *
 * @param written What stands in the file, for the message: what is no text there may look otherwise
 *   in JavaScript.
 * @throws {OptionError} Where it cannot have that.
 */
export function readValue(option: Option, given: unknown, written?: string): unknown {
  // What a message shows of a value that is no text.
  const seen = typeof given === "string" ? undefined : written ?? plainText(given);
  switch (option.kind) {
    case "switch":
      if (typeof given === "boolean") return given;
      throw new OptionError(`${seen ?? given} is neither true nor false`, "it takes no value");
    case "text":
    case "path":
      return textOf(option, given, seen);
    case "names":
      return namesOf(option, given, seen);
    case "range":
      return rangeOf(given, seen);
    case "json":
      return jsonOf(given);
    default:
      // A disk has no size of 0, but an offset may be.
      if (option.kind === "size" && given === "0" && (option.min ?? 1) <= 0) return 0;
      return checked(option, seen ?? `${given}`, numberOf(option.kind, given, seen));
  }
}

/** What a value of the option stands for in a help text. */
export function placeholderOf({ kind, placeholder, choices }: Option): string {
  if (placeholder !== undefined) return placeholder;
  return kind === "text" && choices !== undefined ? choices.join("|") : PLACEHOLDERS[kind];
}

const PLACEHOLDERS: Readonly<Record<OptionKind, string>> = {
  switch: "",
  size: "SIZE",
  integer: "N",
  number: "NUMBER",
  time: "TIME",
  range: "FROM-TO",
  names: "NAME+NAME…",
  text: "TEXT",
  path: "PATH",
  json: "JSON",
};

/** A value that is no text, for a message. `JSON.stringify` would call NaN null. */
export function plainText(value: unknown): string {
  if (typeof value === "number") return Object.is(value, -0) ? "-0" : `${value}`;
  if (typeof value === "bigint") return `${value}`;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "no date" : value.toISOString();
  return JSON.stringify(value) ?? typeof value;
}

function textOf({ kind, choices }: Option, given: unknown, seen?: string): string {
  if (typeof given !== "string" || given === "" || given.includes("\0")) {
    const remedy = kind === "path" ? "give the path of a file" : "give a text";
    throw new OptionError(`${seen ?? JSON.stringify(given)} is not possible`, remedy);
  }
  if (choices === undefined || choices.includes(given)) return given;
  throw new OptionError(`${given} is not possible`, `use one of ${choices.join(", ")}`);
}

function namesOf({ choices = [] }: Option, given: unknown, seen?: string): readonly string[] {
  const names = typeof given === "string" ? given.split("+") : given;
  if (Array.isArray(names) && names.length > 0 && names.every((one) => choices.includes(one))) {
    return names;
  }
  const remedy = `use some of ${choices.join(", ")}, joined by +`;
  throw new OptionError(`${seen ?? given} is not possible`, remedy);
}

function rangeOf(given: unknown, seen?: string): ByteRange {
  let { offset, length } = (given ?? {}) as Partial<ByteRange>;
  if (typeof given === "string") {
    const [from, to, ...more] = given.split("-").map((part) => sizeOf(part.trim()));
    if (from !== undefined && to !== undefined && more.length === 0) {
      [offset, length] = [from, to - from];
    }
  }
  if (Number.isSafeInteger(offset) && offset! >= 0 && Number.isSafeInteger(length) && length! > 0) {
    return { offset: offset!, length: length! };
  }
  const remedy = "write FROM-TO in bytes, such as 0-4096 or 1M-2M";
  throw new OptionError(`${seen ?? given} is no range`, remedy);
}

function jsonOf(given: unknown): unknown {
  if (typeof given !== "string") {
    const stranger = strangerIn(given);
    if (stranger === undefined) return given;
    throw new OptionError(`${stranger} is no value that JSON can have`, "write it as a text");
  }
  try {
    return JSON.parse(given);
  } catch (error) {
    const [cause] = (error as Error).message.split("\n");
    throw new OptionError(`it is not JSON: ${cause}`, `write it as '{"key": "value"}'`);
  }
}

/** Something in a value that JSON has no way to say, and would make null of, or refuse. */
function strangerIn(value: unknown): string | undefined {
  if (typeof value === "number" && !Number.isFinite(value) || typeof value === "bigint") {
    return `${value}`;
  }
  if (typeof value !== "object" || value === null) return undefined;
  return Object.values(value).map(strangerIn).find((found) => found !== undefined);
}

type NumberKind = "size" | "integer" | "number" | "time";

function numberOf(kind: NumberKind, given: unknown, seen?: string): number {
  if (typeof given === "number") {
    if (kind === "number" || kind === "time") {
      if (Number.isFinite(given)) return given;
    } else if (Number.isSafeInteger(given)) {
      return given;
    }
  } else if (typeof given === "string") {
    return READERS[kind](given);
  }
  throw new OptionError(`${seen} is not ${NOUNS[kind]}`, REMEDIES[kind]);
}

const NOUNS: Readonly<Record<NumberKind, string>> = {
  size: "a size",
  integer: "a whole number",
  number: "a number",
  time: "a time",
};

/** What to write for a kind. */
export const REMEDIES: Readonly<Record<NumberKind, string>> = {
  size: "write bytes, with a unit if you like: 4096, 64M, 1GiB",
  integer: "give one in digits",
  number: "give one in digits",
  time: "write milliseconds, or a time with a unit: 10ms, 1.5s, 2m",
};

const READERS: Readonly<Record<NumberKind, (text: string) => number>> = {
  size(text) {
    try {
      return parseSize(text);
    } catch (error) {
      // It says what to do about it too.
      throw new OptionError((error as Error).message);
    }
  },
  integer(text) {
    const value = /^-?\d+$/.test(text) ? Number(text) : NaN;
    if (Number.isSafeInteger(value)) return value;
    throw new OptionError(`${JSON.stringify(text)} is not a whole number`, REMEDIES.integer);
  },
  number(text) {
    const value = /^-?(\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) : NaN;
    if (Number.isFinite(value)) return value;
    throw new OptionError(`${JSON.stringify(text)} is not a number`, REMEDIES.number);
  },
  time(text) {
    const match = /^(\d+\.?\d*|\.\d+)(us|ms|s|m)?$/.exec(text);
    if (match !== null) return Number(match[1]) * UNITS_MS[match[2] ?? "ms"];
    throw new OptionError(`${JSON.stringify(text)} is not a time`, REMEDIES.time);
  },
};

const UNITS_MS: Readonly<Record<string, number>> = { us: 1e-3, ms: 1, s: 1000, m: 60_000 };

/** As {@linkcode parseSize}, and 0 too; undefined where it is no size. */
function sizeOf(text: string): number | undefined {
  if (text === "0") return 0;
  try {
    return READERS.size(text);
  } catch {
    return undefined;
  }
}

function checked(option: Option, text: string, value: number): number {
  const { min = -Infinity, max = Infinity, multipleOf, choices } = option;
  if (choices !== undefined && !choices.includes(value)) {
    throw new OptionError(`${text} is not possible`, `use one of ${choices.join(", ")}`);
  }
  if (value < min || value > max) {
    const range = max === Infinity
      ? `${min} or more`
      : min === -Infinity
      ? `${max} or less`
      : `${min} to ${max}`;
    throw new OptionError(`${text} is out of range`, `use ${range}`);
  }
  if (multipleOf !== undefined && value % multipleOf !== 0) {
    const near = Math.ceil(value / multipleOf) * multipleOf;
    throw new OptionError(`${text} is not a multiple of ${multipleOf}`, `${near} is`);
  }
  return value;
}
