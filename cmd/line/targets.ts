/**
 * The targets of `ublk add -t`, as flags.
 *
 * @module
 */

import { isModuleName, moduleTarget, moduleUrl, target as module } from "../../disk/module.ts";
import type { Target } from "../../disk/target.ts";
import { TARGETS } from "../../backends/targets.ts";
import { usageError } from "./flags.ts";
import { flagLines } from "./help.ts";
import { misspelt } from "../program/misspelt.ts";
import { filesText, valueIn } from "./target_line.ts";

/** All targets. */
export const ALL: readonly Target[] = [...TARGETS, module];

/** The names of all targets: `null, mem, loop, …`. */
export function targetNames(): string {
  return ALL.map(({ name }) => name).join(", ");
}

/**
 * The target that a command line names: by name or alias, where `_` and `-` are equivalent, or by
 * the path or URL of a module.
 *
 * @param cwd The folder that relative paths are resolved against.
 * @throws {UblkError} `INVALID_ARGUMENT` that lists all targets; errors of
 *   {@linkcode moduleTarget}.
 */
export async function targetOf(args: readonly string[], cwd: string): Promise<Target> {
  return await loadTarget(targetReference(args, cwd));
}

/** Loads the target of a reference. */
export async function loadTarget(reference: string): Promise<Target> {
  return ALL.find(({ name }) => name === reference) ?? await moduleTarget(reference);
}

/**
 * The target of a command line as a reference to keep: a name, or the URL of a module.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if it names none.
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

/** Whether a command line names a target in any way. */
export function namesTarget(args: readonly string[]): boolean {
  return valueIn(args, "type", "t") !== undefined || valueIn(args, "module") !== undefined;
}

/** The target that a line names, even if the rest of the line is wrong; no module is loaded. */
export function targetOn(line: readonly string[]): Target | undefined {
  const type = valueIn(line, "type", "t");
  const isModule = type === undefined
    ? valueIn(line, "module") !== undefined
    : isModuleName(type) && !ALL.some(({ name }) => name === type);
  const wanted = isModule ? "module" : type?.replaceAll("_", "-");
  return ALL.find(({ name, aliases = [] }) =>
    [name, ...aliases].some((one) => one.replaceAll("_", "-") === wanted)
  );
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

/** The targets and their options, for the help. */
export function targetsHelp(): string {
  return ALL.map(targetHelp).join("\n");
}

/** One target and its options, for the help. */
function targetHelp(target: Target): string {
  return [targetLine(target), ...target.options.map((option) => flagLines(option))].join("\n");
}

/** One target without its options, for the help. */
export function targetLine(target: Target): string {
  const { name, aliases = [], summary } = target;
  return `${[name, ...aliases].join(", ")}${filesText(target)}: ${summary}`;
}
