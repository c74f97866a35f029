/**
 * The programs that serve one kind of disk each, for the completions.
 *
 * @module
 */

import type { Target } from "../../disk/target.ts";
import type { Syntax } from "./flags.ts";
import { PROGRAMS, programSyntax } from "./program.ts";
import { ALL } from "./targets.ts";

/** A program for one kind of disk. */
export interface DiskProgram {
  /** The syntax, for help and completions. */
  readonly syntax: Syntax;
  /** The target that it serves. */
  readonly target: Target;
}

/** All programs for one kind of disk. */
export const DISK_PROGRAMS: readonly DiskProgram[] = PROGRAMS.map((row) => {
  const target = ALL.find(({ name }) => name === row.target)!;
  return { target, syntax: programSyntax(row.name, target) };
});
