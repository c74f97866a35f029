/**
 * What the help of `ublk add` and `ublk recover` tells.
 *
 * @module
 */

import { ADD_FLAGS } from "./add_line.ts";
import type { Syntax } from "./flags.ts";
import { namesTarget, targetHelp, targetOf, targetsHelp } from "./targets.ts";
import { wrappersHelp } from "./wraps.ts";

type Told = Omit<Syntax, "name" | "summary">;

const NAMES = 'In names of flags, _ and - are the same, and so are the names after "Also".';

const ENDS: Readonly<Record<"add" | "recover", readonly string[]>> = {
  add: [
    "SIZE is a number of bytes or has a unit: 64M and 64MiB count in 1024s, 64MB in 1000s.",
    NAMES,
    "It returns once the disk opens, and prints the device as `ublk list -n ID` does.",
  ],
  recover: [
    "-n ID alone is enough for a device that `ublk add` made and whose contents outlive its server:",
    "all is then as it was, as its record says. With --type give all flags as for `ublk add`.",
    NAMES,
  ],
};

/**
 * The help of a command, of all targets or of the one that its command line names.
 *
 * @throws {UblkError} Where there is no such target.
 */
export async function servingSyntax(
  command: "add" | "recover",
  args: readonly string[],
): Promise<Told> {
  const target = namesTarget(args) ? await targetOf(args, Deno.cwd()) : undefined;
  return {
    flags: ADD_FLAGS,
    operands: "[FILE]…",
    notes: [
      target === undefined ? "Targets, and their own options:" : "The target, and its own options:",
      target === undefined ? targetsHelp() : targetHelp(target),
      "",
      wrappersHelp(),
      "",
      ...ENDS[command],
    ].join("\n"),
  };
}
