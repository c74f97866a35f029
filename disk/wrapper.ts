/**
 * The description of a wrapper: a backend around a backend. One schema describes its options for
 * the command line, the help and the API.
 *
 * @module
 */

import { invalidIn, type UblkError } from "../uapi/error.ts";
import { type Option, OptionError, readValue, REMEDIES } from "./option.ts";
import type { BackendSpec } from "./spec.ts";

/** A time: a number of milliseconds, or a text such as `"10ms"` or `"1.5s"`. */
export type Time = number | string;

/** Unchecked options, as values from a program or as texts from a command line. */
export type GivenOptions = Readonly<Record<string, unknown>>;

/** A wrapper that a command line can name. */
export interface Wrapper {
  /** The name. */
  readonly name: string;
  /** A short description. */
  readonly summary: string;
  /** The wrapper never writes to the wrapped disk, which may then be opened read-only. */
  readonly opensReadOnly?: true;
  /** The wrapper's options. */
  readonly options: readonly Option[];
  /** Whether answered writes outlive the server, given that those of the wrapped disk do. */
  isDurable?(options: GivenOptions): boolean;
  /**
   * Makes the specification of the wrapper around another backend.
   *
   * @throws {UblkError} `INVALID_ARGUMENT` if an option is invalid.
   */
  spec(inner: BackendSpec, options: GivenOptions): BackendSpec;
}

/** The error for a wrapper that cannot work as requested. */
export function refused(name: string, reason: string, hint: string, errno?: number): UblkError {
  return invalidIn(`wrapper ${name}`)(reason, hint, { errno });
}

/**
 * Checks options against their schema and converts texts to values.
 *
 * @throws {UblkError} `INVALID_ARGUMENT`, naming the option, the cause and the remedy.
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

/** Reads the value of one option. Negative numbers are invalid. */
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
