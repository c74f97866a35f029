/**
 * The targets that `ublk add -t` can name, as flags.
 *
 * @module
 */

import { isModuleName, moduleTarget, moduleUrl, target as module } from "../../disk/module.ts";
import type { BackendSpec } from "../../disk/spec.ts";
import type { Target, TargetValues } from "../../disk/target.ts";
import { TARGETS } from "../../backends/targets.ts";
import { placeholderOf } from "../../disk/option.ts";
import { type Flag, usageError } from "./flags.ts";
import { flagLines } from "./help.ts";
import { misspelt } from "../program/misspelt.ts";

/** All of them. */
export const ALL: readonly Target[] = [...TARGETS, module];

/** `null, mem, loop, …`. */
export function targetNames(): string {
  return ALL.map(({ name }) => name).join(", ");
}

/**
 * The target that a command line names: by name or alias, in which `_` and `-` are the same, or by
 * the path or URL of a module.
 *
 * @param cwd What relative paths are relative to.
 * @throws {UblkError} `INVALID_ARGUMENT` that names them all; what {@linkcode moduleTarget} throws.
 */
export async function targetOf(args: readonly string[], cwd: string): Promise<Target> {
  return await loadTarget(targetReference(args, cwd));
}

/** The target of a reference. */
export async function loadTarget(reference: string): Promise<Target> {
  return ALL.find(({ name }) => name === reference) ?? await moduleTarget(reference);
}

/**
 * What a command line says of its target, as it can be kept: a name, or the URL of a module.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` where it names none.
 */
export function targetReference(args: readonly string[], cwd: string): string {
  const type = valueIn(args, "type", "t");
  const file = valueIn(args, "module");
  if (type === undefined && file === undefined) {
    throw usageError("--type", "it is missing", `use one of ${targetNames()}`);
  }
  if (type === undefined || type === "module") {
    if (file === undefined) {
      throw usageError("--module", "it is missing", "name the file of the backend");
    }
    return ownModule("--module", file, cwd);
  }
  if (!isModuleName(type)) return findTarget(type).name;
  if (file !== undefined) {
    throw usageError("--type and --module", "both name a module", "give one of them");
  }
  return ownModule("--type", type, cwd);
}

function ownModule(flag: string, name: string, cwd: string): string {
  const url = moduleUrl(name, cwd);
  if (url.startsWith("file:") && isMissing(new URL(url))) {
    throw usageError(flag, `${name}: there is no such file`, "check the path");
  }
  return url;
}

function isMissing(file: URL): boolean {
  try {
    Deno.statSync(file);
    return false;
  } catch (error) {
    return error instanceof Deno.errors.NotFound;
  }
}

/** Whether a command line names a target, in whatever way. */
export function namesTarget(args: readonly string[]): boolean {
  return valueIn(args, "type", "t") !== undefined || valueIn(args, "module") !== undefined;
}

/** The value of a flag on a command line that cannot be read yet, before the target is known. */
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

function findTarget(name: string): Target {
  const wanted = name.replaceAll("_", "-");
  const target = ALL.find((target) =>
    [target.name, ...target.aliases ?? []].some((one) => one.replaceAll("_", "-") === wanted)
  );
  if (target !== undefined) return target;
  const remedy = `use one of ${targetNames()}, or the path of a module such as ./${name}.ts`;
  const names = ALL.flatMap((target) => [target.name, ...target.aliases ?? []]);
  throw misspelt(usageError("--type", `there is no target ${name}`, remedy), name, names);
}

/** A target's own options as flags. */
export function targetFlags({ options }: Target): Flag[] {
  // What a module needs may stand in its --options too, so it says itself what is missing.
  const elsewhere = options.some(({ kind }) => kind === "json");
  return options.map((option) => elsewhere ? { ...option, required: undefined } : option);
}

/** What to tell somebody who gives an option that a target has not. */
export function targetHint(command: string, { name, options }: Target): string {
  const names = options.map((option) => `--${option.name}`).join(", ");
  return `${name} has ${names === "" ? "no options of its own" : names}; see \`${command} --help\``;
}

/** The targets and their options, for the help. */
export function targetsHelp(): string {
  return ALL.map(targetHelp).join("\n");
}

/** One target and its options, for the help. */
export function targetHelp(target: Target): string {
  return [
    `${[target.name, ...target.aliases ?? []].join(", ")}${filesText(target)}: ${target.summary}`,
    ...target.options.map((option) => flagLines(option)),
  ].join("\n");
}

/** What stands on a command line beside its flags: ` FILE [FILE]`. */
export function filesText({ files: { min, max }, options, operand }: Target): string {
  const option = options.find(({ name }) => name === operand);
  const more = option === undefined ? "" : ` [${placeholderOf(option)}]`;
  if (max > 2) return " FILE…";
  return `${" FILE".repeat(min)}${" [FILE]".repeat(max - min)}${more}`;
}

/** A path as it is meant by somebody in the folder `cwd`. */
export function absolute(path: string, cwd: string): string {
  return path.startsWith("/") ? path : `${cwd}/${path}`;
}

/**
 * Checks how many files a target is given.
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
 * @throws {UblkError} `INVALID_ARGUMENT` where values are not possible.
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
