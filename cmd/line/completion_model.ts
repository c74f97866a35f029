/**
 * What a shell can suggest at each place of a command line, made from what the help is made from. It
 * knows nothing of any shell.
 *
 * @module
 */

import { type Option, placeholderOf } from "../../disk/option.ts";
import type { Target } from "../../disk/target.ts";
import { WRAPPERS } from "../../backends/wrappers.ts";
import { COMMON_FLAGS, type Flag, type Syntax } from "./flags.ts";
import { DISK_PROGRAMS } from "./programs.ts";
import { ALL as TARGETS } from "./targets.ts";

/** A word, and what it means. */
export interface Word {
  /** As it is typed. It has no character that means something to a shell. */
  readonly text: string;
  /** In a few words, or nothing. */
  readonly help: string;
}

/** What can stand in one place. */
export interface Place {
  /** What it stands for: `SIZE`. */
  readonly placeholder: string;
  /** What is known beforehand. */
  readonly words: readonly Word[];
  /** Files, as they are then. */
  readonly files: boolean;
  /** Ids of devices, as they are then. */
  readonly devices: boolean;
}

/** A flag. */
export interface SuggestedFlag {
  /** Without dashes. */
  readonly name: string;
  /** One letter. */
  readonly short?: string;
  /** In a few words. */
  readonly help: string;
  /** It may be given several times. */
  readonly repeated: boolean;
  /** Its value; a switch has none. */
  readonly value?: Place;
}

/** A target, whose own flags count once it is named. */
export interface SuggestedTarget {
  /** Its name and its other names, all in kebab case. */
  readonly names: readonly string[];
  /** What it has beyond its command. */
  readonly flags: readonly SuggestedFlag[];
  /** Whether it takes files. */
  readonly files: boolean;
}

/** A program, or one command of a program that has several. */
export interface SuggestedCommand {
  /** As it is typed: `ublk-mem`, `ublk list`. */
  readonly name: string;
  /** What it does. */
  readonly help: string;
  /** Its flags. */
  readonly flags: readonly SuggestedFlag[];
  /** What else can stand on its line. */
  readonly operand: Place;
  /** Whether a target can be named on its line. */
  readonly takesTarget: boolean;
}

/** All there is. */
export interface Suggestions {
  /** The program that has commands. */
  readonly program: "ublk";
  /** Its flags before any command. */
  readonly flags: readonly SuggestedFlag[];
  /** Its commands. */
  readonly commands: readonly SuggestedCommand[];
  /** The programs that have none. */
  readonly disks: readonly SuggestedCommand[];
  /** The targets of the commands that can name one. */
  readonly targets: readonly SuggestedTarget[];
}

/** What can be suggested, with these commands of `ublk`. */
export function suggestions(commands: readonly Syntax[]): Suggestions {
  return {
    program: "ublk",
    flags: COMMON_FLAGS.map((flag) => flagOf(flag, false)),
    // Whoever adds a device makes its number; all others name one that is there.
    commands: commands.map((syntax) => commandOf(syntax, syntax.name !== "ublk add")),
    disks: DISK_PROGRAMS.map(({ syntax }) => commandOf(syntax, false)),
    targets: TARGETS.map(targetOf),
  };
}

/** The first word of each line that can be completed. */
export function programNames({ program, disks }: Suggestions): string[] {
  return [program, ...disks.map(({ name }) => name)];
}

function commandOf({ name, summary, flags, operands }: Syntax, devices: boolean): SuggestedCommand {
  return {
    name,
    help: summary,
    flags: [...flags, ...COMMON_FLAGS].map((flag) => flagOf(flag, devices)),
    operand: operandOf(operands),
    takesTarget: flags.some(isType),
  };
}

function targetOf({ name, aliases = [], options, files }: Target): SuggestedTarget {
  return {
    names: [...new Set([name, ...aliases].map((one) => one.replaceAll("_", "-")))],
    flags: options.map((option) => flagOf(option, false)),
    files: files.max > 0,
  };
}

function isType({ name, short }: Flag): boolean {
  return name === "type" && short === "t";
}

function flagOf(flag: Flag, devices: boolean): SuggestedFlag {
  const { name, short, kind, help, repeated } = flag;
  return {
    name,
    short,
    help: beginning(help),
    repeated: repeated === true || kind === "count",
    value: kind === "switch" || kind === "count" ? undefined : valueOf(flag, devices),
  };
}

function valueOf(flag: Flag, devices: boolean): Place {
  const { name, choices = [] } = flag;
  const placeholder = placeholderOf(flag as Option);
  const named = (list: readonly { name: string; summary: string }[]) =>
    list.map(({ name, summary }) => ({ text: name, help: summary }));
  // A module is a target too, by its path.
  if (isType(flag)) return { placeholder, words: named(TARGETS), files: true, devices: false };
  if (name === "wrap") return { placeholder, words: named(WRAPPERS), files: false, devices: false };
  return {
    placeholder,
    words: choices.map((choice) => ({ text: `${choice}`, help: "" })),
    files: choices.length === 0 && (flag.kind === "path" || isFile(placeholder)),
    devices: devices && name === "id",
  };
}

/** Names of the operands of a command, in its help: `FILE…`, `[FILE]`, `bash|zsh|fish`. */
function operandOf(operands = ""): Place {
  const placeholder = operands.replaceAll(/[[\]…]/g, "");
  const words = /^[a-z]+(\|[a-z]+)+$/.test(placeholder) ? placeholder.split("|") : [];
  return {
    placeholder,
    words: words.map((text) => ({ text, help: "" })),
    files: placeholder.split(" ").some(isFile),
    devices: false,
  };
}

function isFile(placeholder: string): boolean {
  return ["FILE", "PATH", "FOLDER", "ARCHIVE"].includes(placeholder);
}

/** The first sentence of a help text, or what stands before its first semicolon. */
function beginning(help: string): string {
  return /^.*?(?=\.?$|\. |;)/.exec(help.replaceAll(/\s+/g, " "))![0];
}
