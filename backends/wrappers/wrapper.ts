/**
 * What a wrapper is: a backend around a backend, with options that one schema describes for the
 * command line, its help and the API.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import type { ByteRange } from "../fault_inject.ts";
import { parseSize } from "../size.ts";
import type { BackendSpec } from "../spec.ts";

/** An operation on a disk, by the name that options have for it. */
export type OperationName = "read" | "write" | "flush" | "trim" | "zero";

/** All of them. */
export const OPERATION_NAMES: readonly OperationName[] = [
  "read",
  "write",
  "flush",
  "trim",
  "zero",
];

/** A time: milliseconds, or a text such as `"10ms"`, `"1.5s"`. */
export type Time = number | string;

/** One option of a wrapper. */
export interface WrapperOption {
  /** One word. */
  readonly name: string;
  /**
   * What it takes: nothing; bytes; a whole or any number; a time (kept in milliseconds); a part of
   * the disk (`FROM-TO`); several of its choices (joined by `+`); a text; the path of a file.
   */
  readonly kind:
    | "switch"
    | "size"
    | "integer"
    | "number"
    | "time"
    | "range"
    | "names"
    | "text"
    | "path";
  /** On a command line its value may stand first without its name. */
  readonly first?: true;
  /** It must be given. */
  readonly required?: true;
  /** The least value. */
  readonly min?: number;
  /** The greatest value. */
  readonly max?: number;
  /** The only values that there are. */
  readonly choices?: readonly string[];
  /** What it does, for the help. */
  readonly help: string;
}

/** Options as they are given: by a program, or as texts on a command line. */
export type GivenOptions = Readonly<Record<string, unknown>>;

/** A wrapper that a command line can name. */
export interface Wrapper {
  /** What it is called. */
  readonly name: string;
  /** What it is, in a few words. */
  readonly summary: string;
  /** It never writes to what it wraps, which may then be opened for reading only. */
  readonly neverWrites?: true;
  /** Its options. */
  readonly options: readonly WrapperOption[];
  /** Whether what was answered outlives the server, where that of the wrapped disk does. */
  keeps?(options: GivenOptions): boolean;
  /**
   * The specification of the wrapper around another backend.
   *
   * @throws {UblkError} `INVALID_ARGUMENT` where an option is not possible.
   */
  spec(inner: BackendSpec, options: GivenOptions): BackendSpec;
}

/** The error of a wrapper that cannot be as it is asked for. */
export function refused(name: string, reason: string, hint: string, errno?: number): UblkError {
  return new UblkError("INVALID_ARGUMENT", { operation: `wrapper ${name}`, reason, hint, errno });
}

/**
 * Options as their schema wants them, whether they are texts or values already.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` which names the option, the cause and the remedy.
 */
export function checkOptions<T>(
  { name, options }: Pick<Wrapper, "name" | "options">,
  given: object,
): T {
  const checked: Record<string, unknown> = {};
  for (const key of Object.keys(given)) {
    if (options.some((option) => option.name === key)) continue;
    const names = options.map((option) => option.name).join(", ");
    const hint = names === "" ? "it has no options" : `it has ${names}`;
    throw refused(name, `it has no option ${JSON.stringify(key)}`, hint);
  }
  for (const option of options) {
    const value = (given as GivenOptions)[option.name];
    if (value !== undefined) {
      checked[option.name] = valueOf(name, option, value);
    } else if (option.required) {
      throw refused(name, `${option.name} is missing`, `give ${option.name}=…`);
    }
  }
  return checked as T;
}

function valueOf(wrapper: string, option: WrapperOption, value: unknown): unknown {
  const fail = (hint: string) => {
    const shown = typeof value === "string" ? value : JSON.stringify(value);
    return refused(wrapper, `${option.name}=${shown} is not possible`, hint);
  };
  const { min = 0, max = Number.MAX_SAFE_INTEGER, choices } = option;
  switch (option.kind) {
    case "switch":
      if (typeof value === "boolean") return value;
      throw fail("it takes no value");
    case "text":
    case "path":
      if (typeof value !== "string" || value === "" || value.includes("\0")) {
        throw fail(option.kind === "path" ? "give the path of a file" : "give a text");
      }
      if (choices !== undefined && !choices.includes(value)) {
        throw fail(`use ${choices.join(" or ")}`);
      }
      return value;
    case "names": {
      const names = typeof value === "string" ? value.split("+") : value;
      const known = Array.isArray(names) && names.length > 0 &&
        names.every((one) => choices!.includes(one));
      if (known) return names;
      throw fail(`use some of ${choices!.join(", ")}, joined by +`);
    }
    case "range":
      return rangeOf(value) ?? (() => {
        throw fail("write FROM-TO in bytes, such as 0-4096 or 1M-2M");
      })();
  }
  const number = numberOf(option.kind, value);
  if (number === undefined) throw fail(HINTS[option.kind]);
  if (number < min || number > max) throw fail(`use ${min} to ${max}`);
  return number;
}

const HINTS = {
  size: "write bytes, with a unit if you like: 4096, 64M, 1GiB",
  integer: "give a whole number",
  number: "give a number",
  time: "write milliseconds, or a time with a unit: 10ms, 1.5s, 2m",
} as const;

/** A number of an option's kind, or undefined where it is none. */
function numberOf(kind: keyof typeof HINTS, value: unknown): number | undefined {
  if (typeof value === "number") {
    const right = kind === "number" || kind === "time"
      ? Number.isFinite(value)
      : Number.isSafeInteger(value);
    return right ? value : undefined;
  }
  if (typeof value !== "string") return undefined;
  if (kind === "size") return sizeOf(value);
  if (kind === "time") return timeOf(value);
  const pattern = kind === "integer" ? /^-?\d+$/ : /^(\d+\.?\d*|\.\d+)$/;
  return pattern.test(value) ? Number(value) : undefined;
}

/** As {@linkcode parseSize}, and 0 too. */
function sizeOf(text: string): number | undefined {
  if (text === "0") return 0;
  try {
    return parseSize(text);
  } catch {
    return undefined;
  }
}

const UNITS_MS: Readonly<Record<string, number>> = { us: 1e-3, ms: 1, s: 1000, m: 60_000 };

function timeOf(text: string): number | undefined {
  const match = /^(\d+\.?\d*|\.\d+)(us|ms|s|m)?$/.exec(text);
  return match === null ? undefined : Number(match[1]) * UNITS_MS[match[2] ?? "ms"];
}

function rangeOf(value: unknown): ByteRange | undefined {
  if (typeof value === "string") {
    const [from, to, ...more] = value.split("-").map((part) => sizeOf(part.trim()));
    if (from === undefined || to === undefined || more.length > 0) return undefined;
    return rangeOf({ offset: from, length: to - from });
  }
  const { offset, length } = (value ?? {}) as Partial<ByteRange>;
  const right = Number.isSafeInteger(offset) && offset! >= 0 && Number.isSafeInteger(length) &&
    length! > 0;
  return right ? { offset: offset!, length: length! } : undefined;
}
