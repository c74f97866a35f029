/**
 * The programs that serve one kind of disk each, such as `ublk-mem`: one row here, and one file
 * that runs it.
 *
 * @module
 */

import type { Target } from "../../disk/target.ts";
import { COMMON, GROUPS } from "./add_groups.ts";
import { DISK_FLAGS } from "./add_line.ts";
import type { Syntax } from "./flags.ts";
import { filesText, targetFlags } from "./target_line.ts";

/** A program for one kind of disk. */
export interface ProgramRow {
  /** The program's name. */
  readonly name: string;
  /** Its target's name. */
  readonly target: string;
  /** A short description. */
  readonly summary: string;
}

/** All programs. */
export const PROGRAMS: readonly ProgramRow[] = [
  { name: "ublk-file", target: "loop", summary: "serve a file or block device as /dev/ublkbN" },
  { name: "ublk-mem", target: "mem", summary: "serve a RAM disk as /dev/ublkbN" },
  {
    name: "ublk-null",
    target: "null",
    summary: "serve a disk that keeps nothing as /dev/ublkbN, to measure the server itself",
  },
  {
    name: "ublk-zip",
    target: "zip",
    summary: "serve a disk image in a zip archive, or an archive's files, as /dev/ublkbN",
  },
];

const NOTES = `SIZE is a number of bytes or has a unit: 64M and 64MiB count in 1024s, 64MB in 1000s.

It serves in the foreground. The first line on stdout is the disk's path, once it can be opened.
Ctrl-C (or SIGTERM) stops and deletes the disk; once more, a second later, ends by force.`;

/** The syntax of a program, for its help and completions. */
export function programSyntax(name: string, target: Target): Syntax {
  const { summary } = PROGRAMS.find((row) => row.name === name)!;
  const operands = filesText(target).trim();
  return {
    name,
    summary,
    flags: [...targetFlags(target), ...DISK_FLAGS],
    common: [...target.options.map(({ name }) => name), ...COMMON],
    groups: GROUPS,
    ...(operands === "" ? {} : { operands }),
    notes: NOTES,
  };
}
