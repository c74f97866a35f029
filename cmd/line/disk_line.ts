/**
 * The part of a command line that describes a disk: its target, the target's options and files, and
 * wrappers. It is the same for block devices and for exports.
 *
 * @module
 */

import { type Option, OptionError, readValue } from "../../disk/option.ts";
import type { Target } from "../../disk/target.ts";
import { findFlag, type Flag, spreadLetters, usageError } from "./flags.ts";
import { absolute, checkFiles, targetFlags } from "./target_line.ts";
import type { Wrap } from "./wraps.ts";

/** The target that a command line names, and its reference in a record. */
export async function namedTarget(
  args: readonly string[],
  cwd: string,
  flags: readonly Flag[],
): Promise<[reference: string, target: Target]> {
  const { loadTarget, targetReference } = await import("./targets.ts");
  const reference = targetReference(spreadLetters(flags, args), cwd);
  return [reference, await loadTarget(reference)];
}

/** The wrappers that a command line names. */
export async function wrapsOf(texts: readonly string[], cwd: string): Promise<Wrap[]> {
  if (texts.length === 0) return [];
  return (await import("./wraps.ts")).readWraps(texts, cwd);
}

/**
 * The target's own options as flags.
 *
 * @param flags Those of the command, which no target may have too.
 */
export function ownFlags(target: Target, flags: readonly Flag[]): Flag[] {
  const own = targetFlags(target);
  for (const { name } of own) {
    if (findFlag(flags, `--${name}`) === undefined) continue;
    const remedy = "call it something else in the module's target";
    throw usageError(target.name, `its option --${name} is one of every disk`, remedy);
  }
  return own;
}

/** The files, and the value of the option that may follow them as a word. */
export function operandsOf(
  target: Target,
  words: readonly string[],
  values: Readonly<Record<string, unknown>>,
): [files: readonly string[], operand: Readonly<Record<string, unknown>>] {
  const { files: { max }, operand } = target;
  const option = target.options.find(({ name }) => name === operand);
  const word = words[max];
  const isOperand = option !== undefined && words.length === max + 1 &&
    values[option.name] === undefined &&
    // For a target without files, a file name should not be reported as a malformed size.
    (option.kind !== "size" || /^\d/.test(word));
  if (option !== undefined && words.length > max + 1 && values[option.name] === undefined) {
    throw usageError(words[max + 1], "unexpected argument", "leave it out");
  }
  const files = isOperand ? words.slice(0, max) : words;
  checkFiles(target, files);
  return [files, isOperand ? { [option.name]: operandValue(option, word) } : {}];
}

function operandValue(option: Option, word: string): unknown {
  try {
    return readValue(option, word);
  } catch (error) {
    if (error instanceof OptionError) {
      throw usageError(`--${option.name}`, error.message, error.remedy);
    }
    throw error;
  }
}

/** A path as an absolute one; any other value as it is. */
export function pathOr(kind: Flag["kind"], value: unknown, cwd: string): unknown {
  return kind === "path" && value !== undefined ? absolute(value as string, cwd) : value;
}
