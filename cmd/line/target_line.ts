/**
 * The part of a command line that a target interprets, for any target. The list of all targets is
 * in `targets.ts`: a program for one kind of disk does not load the others.
 *
 * @module
 */

import { placeholderOf } from "../../disk/option.ts";
import type { BackendSpec } from "../../disk/spec.ts";
import type { Target, TargetValues } from "../../disk/target.ts";
import { type Flag, usageError } from "./flags.ts";

/**
 * The value of a flag on a command line that cannot be parsed yet, because the target is unknown.
 */
export function valueIn(
  args: readonly string[],
  name: string,
  short?: string,
): string | undefined {
  for (const [at, arg] of args.entries()) {
    if (arg === "--") return undefined;
    if (arg === `--${name}` || (short !== undefined && arg === `-${short}`)) return args[at + 1];
    if (arg.startsWith(`--${name}=`)) return arg.slice(name.length + 3);
    if (short !== undefined && /^-[^-]./.test(arg) && arg[1] === short) {
      return arg.slice(arg[2] === "=" ? 3 : 2);
    }
  }
  return undefined;
}

/** The target's own options as flags. */
export function targetFlags({ options }: Target): Flag[] {
  // A module's required options may be in --options, so the module itself reports missing ones.
  const elsewhere = options.some(({ kind }) => kind === "json");
  return options.map((option) => elsewhere ? { ...option, required: undefined } : option);
}

/** The remedy for an option that the target does not have. */
export function targetHint(command: string, { name, options }: Target): string {
  const names = options.map((option) => `--${option.name}`).join(", ");
  return `${name} has ${names === "" ? "no options of its own" : names}; see \`${command} --help\``;
}

/** The operands of a target in the help: ` FILE [FILE]`. */
export function filesText({ files: { min, max }, options, operand }: Target): string {
  const option = options.find(({ name }) => name === operand);
  const more = option === undefined ? "" : ` [${placeholderOf(option)}]`;
  if (max > 2) return " FILE…";
  return `${" FILE".repeat(min)}${" [FILE]".repeat(max - min)}${more}`;
}

/** Resolves a path against the folder `cwd`. */
export function absolute(path: string, cwd: string): string {
  return path.startsWith("/") ? path : `${cwd}/${path}`;
}

/**
 * Checks the number of files for a target.
 *
 * @throws {UblkError} `INVALID_ARGUMENT`.
 */
export function checkFiles({ name, files: { min, max } }: Target, files: readonly string[]): void {
  if (files.length > max) {
    const cause = max === 0 ? `${name} takes no files` : `${name} takes ${max} at most`;
    throw usageError(files[max], cause, "leave it out");
  }
  if (files.length < min) {
    const count = min === 1 ? "a file" : `${min} files`;
    throw usageError(name, `it needs ${count}, not ${files.length}`, "give more");
  }
}

/**
 * The specification of a target's backend.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` for impossible values.
 */
export function targetSpec(
  target: Target,
  values: TargetValues,
  files: readonly string[],
): BackendSpec {
  try {
    return target.spec(values, files);
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) {
      throw usageError(target.name, error.message);
    }
    throw error;
  }
}
