/**
 * The schema for options of targets, wrappers and commands. It checks options from command lines,
 * option files and programs, and generates help and completions.
 *
 * @module
 */

import type { ByteRange } from "./geometry.ts";
import { parseSize } from "./size.ts";

/** The kind of value that an option takes. */
export type OptionKind =
  /** No value: the option is given or not. */
  | "switch"
  /** A number of bytes, or a text with a unit. */
  | "size"
  /** A whole number. */
  | "integer"
  /** Any number. */
  | "number"
  /** A time: a number of milliseconds, or a text with a unit. Stored in milliseconds. */
  | "time"
  /** A part of a disk in bytes: `FROM-TO`. */
  | "range"
  /** Some of its choices, joined by `+`. */
  | "names"
  /** Any text. */
  | "text"
  /** The path of a file. A relative path is relative to the place where it is written. */
  | "path"
  /** Any JSON value. */
  | "json";

/** One option. */
export interface Option {
  /** The name in kebab case, without leading dashes. Underscores for hyphens are accepted too. */
  readonly name: string;
  /** The kind of its value. */
  readonly kind: OptionKind;
  /**
   * Placeholder for the value in the help.
   *
   * @default The kind
   */
  readonly placeholder?: string;
  /** For a wrapper's option: on a command line its value may come first, without the name. */
  readonly first?: true;
  /** The option must be given. */
  readonly required?: true;
  /**
   * It is for one start of the disk. Neither a record nor a file of options has it, for either would
   * repeat it at a later start.
   */
  readonly once?: true;
  /** Minimum value. */
  readonly min?: number;
  /** Maximum value. */
  readonly max?: number;
  /** The value must be a multiple of this. */
  readonly multipleOf?: number;
  /** The allowed values, if not all. */
  readonly choices?: readonly (number | string)[];
  /** Description for the help. Line breaks are kept. */
  readonly help: string;
}

/** The error for an invalid value of an option. */
export class OptionError extends Error {
  /** Advice for the user; undefined if the cause already contains it. */
  readonly remedy: string | undefined;

  /** Makes an error of a cause and its remedy. */
  constructor(cause: string, remedy?: string) {
    super(cause);
    this.remedy = remedy;
  }
}

/**
 * Reads the value of an option, from a text on a command line or from a value of a program or file.
 *
 * @param written The value as written in the file, for the message. A value that is not a text may
 *   look different in JavaScript.
 * @throws {OptionError} If the value is invalid for the option.
 */
export function readValue(option: Option, given: unknown, written?: string): unknown {
  // How a message shows a value that is not a text.
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
      // The size of a disk cannot be 0, but an offset can.
      if (option.kind === "size" && given === "0" && (option.min ?? 1) <= 0) return 0;
      return checked(option, seen ?? `${given}`, numberOf(option.kind, given, seen));
  }
}

/** The placeholder for an option's value in a help text. */
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

/** Shows a value that is not a text, for a message. `JSON.stringify` would show NaN as null. */
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

/** Finds a part of a value that JSON cannot express: it would become null or be refused. */
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

/** Advice on writing values of each kind. */
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
      // The message already contains the remedy.
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

/** Like {@linkcode parseSize}, but also accepts 0. Undefined for anything that is not a size. */
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
