/**
 * The programs that serve one kind of disk each, `ublk-mem` and its like: one row here, and one file
 * that runs it.
 *
 * @module
 */

import type { Target } from "../../disk/target.ts";
import { COMMON, GROUPS } from "./add_help.ts";
import { DISK_FLAGS } from "./add_line.ts";
import type { Syntax } from "./flags.ts";
import { ALL, filesText, targetFlags } from "./targets.ts";
import { wrappersHelp } from "./wraps.ts";

/** A program for one kind of disk. */
export interface DiskProgram {
  /** What its help and the completions tell. */
  readonly syntax: Syntax;
  /** What it serves. */
  readonly target: Target;
}

const PROGRAMS: readonly [name: string, target: string, summary: string][] = [
  ["ublk-file", "loop", "serve a file or block device as /dev/ublkbN"],
  ["ublk-mem", "mem", "serve a RAM disk as /dev/ublkbN"],
  [
    "ublk-null",
    "null",
    "serve a disk that keeps nothing as /dev/ublkbN, to measure the server itself",
  ],
  ["ublk-zip", "zip", "serve a disk image in a zip archive, or an archive's files, as /dev/ublkbN"],
];

const NOTES = `SIZE is a number of bytes or has a unit: 64M and 64MiB count in 1024s, 64MB in 1000s.

It serves in the foreground. The first line on stdout is the disk's path, once it can be opened.
Ctrl-C (or SIGTERM) stops and deletes the disk; once more, a second later, ends by force.`;

/** All of them. */
export const DISK_PROGRAMS: readonly DiskProgram[] = PROGRAMS.map(([name, of, summary]) => {
  const target = ALL.find((one) => one.name === of)!;
  const operands = filesText(target).trim();
  return {
    target,
    syntax: {
      name,
      summary,
      flags: [...targetFlags(target), ...DISK_FLAGS],
      common: [...target.options.map(({ name }) => name), ...COMMON],
      groups: GROUPS,
      ...(operands === "" ? {} : { operands }),
      notes: `${wrappersHelp()}\n\n${NOTES}`,
    },
  };
});
