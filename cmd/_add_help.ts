/**
 * What the help of `ublk add` and `ublk recover` tells.
 *
 * @module
 */

import { ADD_FLAGS } from "./_add_line.ts";
import type { Syntax } from "./_flags.ts";
import { targetsHelp } from "./_targets.ts";
import { wrappersHelp } from "./_wraps.ts";

type Told = Omit<Syntax, "name" | "summary">;

const NAMES = 'In names of flags, _ and - are the same, and so are the names after "Also".';

/** Of `ublk add`. */
export const addSyntax: Told = {
  flags: ADD_FLAGS,
  operands: "[FILE]…",
  notes: [
    "Targets, and their own options:",
    targetsHelp(),
    "",
    wrappersHelp(),
    "",
    "SIZE is a number of bytes or has a unit: 64M and 64MiB count in 1024s, 64MB in 1000s.",
    NAMES,
    "It returns once the disk opens, and prints the device as `ublk list -n ID` does.",
  ].join("\n"),
};

/** Of `ublk recover`. */
export const recoverSyntax: Told = {
  flags: ADD_FLAGS,
  operands: "[FILE]…",
  notes: [
    "Targets, and their own options:",
    targetsHelp(),
    "",
    wrappersHelp(),
    "",
    "-n ID alone is enough for a device that `ublk add` made and whose contents outlive its server:",
    "all is then as it was, as its record says. With --type give all flags as for `ublk add`.",
    NAMES,
  ].join("\n"),
};
