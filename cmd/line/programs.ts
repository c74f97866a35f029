/**
 * The programs that serve one kind of disk each, as the completions have to know them.
 *
 * @module
 */

import type { Target } from "../../disk/target.ts";
import type { Syntax } from "./flags.ts";
import { PROGRAMS, programSyntax } from "./program.ts";
import { ALL } from "./targets.ts";

/** A program for one kind of disk. */
export interface DiskProgram {
  /** What its help and the completions tell. */
  readonly syntax: Syntax;
  /** What it serves. */
  readonly target: Target;
}

/** All of them. */
export const DISK_PROGRAMS: readonly DiskProgram[] = PROGRAMS.map((row) => {
  const target = ALL.find(({ name }) => name === row.target)!;
  return { target, syntax: programSyntax(row.name, target) };
});
