/**
 * The targets that `ublk add -t` can name, as flags.
 *
 * @module
 */

import type { BackendSpec } from "../backends/spec.ts";
import type { Target, TargetValues } from "../backends/target.ts";
import { TARGETS } from "../backends/targets.ts";
import { type Flag, usageError } from "./_flags.ts";
import { flagLines } from "./_help.ts";

const ALL: readonly Target[] = TARGETS;

/** `null, mem, loop, …`. */
export function targetNames(): string {
  return ALL.map(({ name }) => name).join(", ");
}

/**
 * The target of a name or alias; `_` and `-` are the same.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` that names them all.
 */
export function findTarget(name: string): Target {
  const wanted = name.replaceAll("_", "-");
  const target = ALL.find((target) =>
    [target.name, ...target.aliases ?? []].some((one) => one.replaceAll("_", "-") === wanted)
  );
  if (target !== undefined) return target;
  throw usageError("--type", `there is no target ${name}`, `use one of ${targetNames()}`);
}

/** A target's own options as flags. */
export function targetFlags({ options }: Target): Flag[] {
  return [...options];
}

/** What to tell somebody who gives an option that a target has not. */
export function targetHint(command: string, { name, options }: Target): string {
  const names = options.map((option) => `--${option.name}`).join(", ");
  return `${name} has ${names === "" ? "no options of its own" : names}; see \`${command} --help\``;
}

/** The targets and their options, for the help. */
export function targetsHelp(): string {
  return ALL.flatMap((target) => [
    `${[target.name, ...target.aliases ?? []].join(", ")}${filesText(target)}: ${target.summary}`,
    ...target.options.map((option) => flagLines(option)),
  ]).join("\n");
}

function filesText({ files: { min, max } }: Target): string {
  if (max === 0) return "";
  if (max > 2) return " FILE…";
  return `${" FILE".repeat(min)}${" [FILE]".repeat(max - min)}`;
}

/** A path as it is meant by somebody in the folder `cwd`. */
export function absolute(path: string, cwd: string): string {
  return path.startsWith("/") ? path : `${cwd}/${path}`;
}

/**
 * The specification of a target's backend.
 *
 * @param files As they are typed by somebody in the folder `cwd`.
 * @throws {UblkError} `INVALID_ARGUMENT` where files or values are not possible.
 */
export function targetSpec(
  target: Target,
  values: TargetValues,
  files: readonly string[],
  cwd: string,
): BackendSpec {
  const { name, files: { min, max } } = target;
  if (files.length > max) {
    const cause = max === 0 ? `${name} takes no files` : `${name} takes ${max} at most`;
    throw usageError(files[max], cause, "leave it out");
  }
  if (files.length < min) {
    const count = min === 1 ? "a file" : `${min} files`;
    throw usageError(name, `it needs ${count}, not ${files.length}`, "give more");
  }
  try {
    return target.spec(values, files.map((file) => absolute(file, cwd)));
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) {
      throw usageError(name, error.message);
    }
    throw error;
  }
}
