/**
 * The help of `ublk-nbd`, for all targets or for the one on its command line.
 *
 * @module
 */

import type { Syntax } from "./flags.ts";
import { explained, helpText } from "./help.ts";
import { NBD_FLAGS, NBD_SYNTAX } from "./nbd_line.ts";
import { filesText, targetFlags } from "./target_line.ts";
import { ALL, targetOn, targetsHelp } from "./targets.ts";
import { wrappersHelp } from "./wraps.ts";

/** The syntax with a target's options, for completions. */
export function nbdSyntax(line: readonly string[]): Syntax {
  const target = targetOn(line);
  const operands = target === undefined || target.files.max > 0 ? "FILE" : "";
  return { ...NBD_SYNTAX, flags: [...NBD_FLAGS, ...target?.options ?? []], operands };
}

/** The text of the help. */
export function nbdHelp(args: readonly string[], all: boolean): string {
  const target = targetOn(args);
  const own = target === undefined ? {} : {
    own: { heading: `Options of ${target.name}`, flags: targetFlags(target) },
    operands: `-t ${target.name}${filesText(target)}`,
  };
  const targets = all ? `Targets, and their own options:\n${targetsHelp()}` : [
    "Targets; `ublk-nbd -t TARGET --help` has the options of one:",
    ...ALL.map(({ name, aliases = [], summary }) =>
      explained(`  ${[name, ...aliases].join(", ")}`, summary)
    ),
  ].join("\n");
  const notes = [targets, "", wrappersHelp(), "", NBD_SYNTAX.notes].join("\n");
  return helpText({ ...NBD_SYNTAX, ...own, notes }, all);
}
