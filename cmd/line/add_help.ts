/**
 * The help of `ublk add` and `ublk recover`.
 *
 * @module
 */

import type { Target } from "../../disk/target.ts";
import { WRAPPERS } from "../../backends/wrappers.ts";
import { ADD_FLAGS, RECOVER_FLAGS } from "./add_line.ts";
import { COMMON, GROUPS } from "./add_groups.ts";
import { type Syntax, wantsAll } from "./flags.ts";
import { explained } from "./help.ts";
import { ownSpelling } from "./spellings.ts";
import { ALL, namesTarget, targetLine, targetOf, targetsHelp } from "./targets.ts";
import { filesText, targetFlags, valueIn } from "./target_line.ts";
import { wrappersHelp } from "./wraps.ts";

type Told = Omit<Syntax, "name" | "summary">;

/** An example command line for each target. */
export const TARGET_EXAMPLES: Readonly<Record<string, string>> = {
  null: "ublk add null",
  mem: "ublk add mem --size 1G",
  loop: "ublk add loop disk.img --recovery reissue",
  stripe: "ublk add stripe a.img b.img",
  zip: "ublk add zip disk.zip --member disk.img",
  fault_inject: "ublk add fault_inject --size 1G --error-rate 0.01",
  zoned: "ublk add zoned --size 1G --zone-size 16M",
  volume: "ublk add volume db --store /srv/volumes",
  module: "ublk add ./my_backend.ts",
};

const EXAMPLES: Readonly<Record<"add" | "recover", readonly string[]>> = {
  add: [
    TARGET_EXAMPLES.mem,
    TARGET_EXAMPLES.loop,
    "ublk add -t loop -f disk.img --wrap delay:read=10ms",
  ],
  recover: ["ublk recover 0", "ublk recover 0 -t loop disk.img"],
};

const NAMES = 'In names of flags, _ and - are the same, and so are the names after "Also".';

const ENDS: Readonly<Record<"add" | "recover", readonly string[]>> = {
  add: [
    "The target may also be the first word, and -f FILE is FILE, as for ublksrv and rublk.",
    "SIZE is a number of bytes or has a unit: 64M and 64MiB count in 1024s, 64MB in 1000s.",
    NAMES,
    "It returns once the disk opens, and prints the device as `ublk list -n ID` does.",
  ],
  recover: [
    "DEVICE alone is enough for a device of which there is a record, whichever program made it, " +
    "and whose contents outlive its server: all is then as it was, as its record says. With --type give all flags as for `ublk " +
    "add`.",
    NAMES,
  ],
};

/**
 * The help of a command, for all targets or for the one on its command line.
 *
 * @throws {UblkError} If there is no such target.
 */
export async function servingSyntax(
  command: "add" | "recover",
  args: readonly string[],
): Promise<Told> {
  const target = await named(command, args);
  const all = wantsAll(args);
  return {
    flags: command === "add" ? ADD_FLAGS : RECOVER_FLAGS,
    common: COMMON,
    groups: GROUPS,
    own: target === undefined ? undefined : {
      heading: `Options of ${target.name}`,
      flags: targetFlags(target),
    },
    operands: command === "add" ? placeOf(target) : "DEVICE [FILE]…",
    notes: [
      targetsPart(target, all),
      "",
      all ? wrappersHelp() : wrapperNames(),
      "",
      ...ENDS[command],
    ].join("\n"),
    examples: target !== undefined && command === "add"
      ? [TARGET_EXAMPLES[target.name] ?? `ublk add -t ${target.name}`]
      : EXAMPLES[command],
  };
}

/** The target that a line names, even if the rest of the line is wrong. */
async function named(
  command: "add" | "recover",
  args: readonly string[],
): Promise<Target | undefined> {
  const line = ownSpelling(command, args.filter((arg) => !/^(-h|--help(=.*)?)$/.test(arg)));
  if (!namesTarget(line)) return undefined;
  // No module is named yet: show the options that every module has.
  if (valueIn(line, "type", "t") === "module" && valueIn(line, "module") === undefined) {
    return ALL.find(({ name }) => name === "module");
  }
  return await targetOf(line, Deno.cwd());
}

/** The target and its files, as they stand on the line of `ublk add`. */
function placeOf(target: Target | undefined): string {
  if (target === undefined) return "TARGET [FILE]…";
  // A module is named by its file.
  return `${ALL.includes(target) ? target.name : "MODULE"}${filesText(target)}`;
}

function targetsPart(target: Target | undefined, all: boolean): string {
  if (target !== undefined) return targetLine(target);
  if (all) return `Targets, and their own options:\n${targetsHelp()}`;
  return [
    "Targets; `ublk add TARGET --help` has the options of one:",
    ...ALL.map(({ name, aliases = [], summary }) =>
      explained(`  ${[name, ...aliases].join(", ")}`, summary)
    ),
  ].join("\n");
}

function wrapperNames(): string {
  const names = WRAPPERS.map(({ name }) => name).join(", ");
  return `Wrappers: ${names}. \`--help=all\` and docs/wrappers.md explain them.`;
}
