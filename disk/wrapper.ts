/**
 * What a wrapper is: a backend around a backend, with options that one schema describes for the
 * command line, its help and the API.
 *
 * @module
 */

import { invalidIn, type UblkError } from "../uapi/error.ts";
import { type Option, OptionError, readValue, REMEDIES } from "./option.ts";
import type { BackendSpec } from "./spec.ts";

/** A time: milliseconds, or a text such as `"10ms"`, `"1.5s"`. */
export type Time = number | string;

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
  readonly options: readonly Option[];
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
  return invalidIn(`wrapper ${name}`)(reason, hint, { errno });
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

/** One option's value. Numbers are not negative. */
function valueOf(wrapper: string, option: Option, value: unknown): unknown {
  try {
    return readValue({ min: 0, ...option }, value);
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    const text = typeof value === "string" ? value : JSON.stringify(value);
    const remedy = option.kind in REMEDIES
      ? REMEDIES[option.kind as keyof typeof REMEDIES]
      : undefined;
    throw refused(
      wrapper,
      `${option.name}=${text} is not possible`,
      error.remedy ?? remedy ?? error.message,
    );
  }
}
