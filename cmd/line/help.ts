/**
 * The help and version texts of the commands, made from their flags and fitted to the terminal's
 * width.
 *
 * @module
 */

import config from "../../deno.json" with { type: "json" };
import { type Option, placeholderOf } from "../../disk/option.ts";
import { textWidth } from "../program/width.ts";
import type { CommandGroup } from "./command.ts";
import { COMMON_FLAGS, type Flag, type FlagGroup, type Syntax } from "./flags.ts";
import { paragraphs, wrapped } from "./wrap_text.ts";

/** The column where the explanations begin. */
const COLUMN = 26;

/** The version line: `ublk-mem 0.1.0`. */
export function versionText(program: string): string {
  return `${program} ${config.version}`;
}

/**
 * The help of one command.
 *
 * @param all Show all flags, in groups. Default: the common ones, if the syntax names any.
 * @param width Width in characters. Default: the terminal's.
 */
export function helpText(syntax: Syntax, all = false, width: number = textWidth()): string {
  const { name, summary, notes, examples = [], common } = syntax;
  const isShort = !all && common !== undefined;
  return [
    wrapped(`${name}: ${summary}`, width),
    "",
    wrapped(usageLine(syntax), width, "  "),
    ...sectionsOf(syntax, all).flatMap(({ heading, flags }) => [
      "",
      `${heading}:`,
      ...flags.map((flag) => flagLines(flag, width)),
    ]),
    ...(isShort ? ["", wrapped(`\`${name} --help=all\` has all other options.`, width)] : []),
    ...(notes === undefined ? [] : ["", paragraphs(notes, width)]),
    ...(examples.length === 0 ? [] : [
      "",
      examples.length === 1 ? "Example:" : "Examples:",
      ...examples.map((line) => `  ${line}`),
    ]),
  ].join("\n");
}

function usageLine({ name, flags, operands, words = [] }: Syntax): string {
  // A value that can be given as a word does not need its flag.
  const required = flags.filter((flag) => flag.required && !words.includes(flag.name))
    .map((flag) => `${signature(flag)} `);
  return `Usage: ${name} ${required.join("")}[OPTION]…${
    operands === undefined ? "" : ` ${operands}`
  }`;
}

interface Section {
  readonly heading: string;
  readonly flags: readonly Flag[];
}

/** The flags under their headings: the common ones, and optionally the others in groups. */
function sectionsOf({ flags, own, common, groups = [] }: Syntax, all: boolean): Section[] {
  const everywhere: readonly Flag[] = COMMON_FLAGS;
  const first = common === undefined
    ? flags
    : common.flatMap((name) => flags.find((flag) => flag.name === name) ?? []);
  return [
    ...(own === undefined || own.flags.length === 0 ? [] : [own]),
    { heading: "Options", flags: [...first, ...everywhere] },
    ...(all ? grouped(flags.filter((flag) => !first.includes(flag)), groups) : []),
  ];
}

function grouped(flags: readonly Flag[], groups: readonly FlagGroup[]): Section[] {
  const sections = groups.map(({ heading, names }) => ({
    heading,
    flags: flags.filter(({ name }) => names.includes(name)),
  }));
  const known = new Set(groups.flatMap(({ names }) => names));
  const others = { heading: "Other options", flags: flags.filter(({ name }) => !known.has(name)) };
  return [...sections, others].filter((section) => section.flags.length > 0);
}

/** The help of a program with several commands. */
export function overviewText(
  program: string,
  summary: string,
  groups: readonly CommandGroup[],
  examples: readonly string[],
  width: number = textWidth(),
): string {
  return [
    wrapped(`${program}: ${summary}`, width),
    "",
    `Usage: ${program} COMMAND [OPTION]…`,
    ...groups.flatMap(({ heading, commands }) => [
      "",
      `${heading}:`,
      ...commands.map(({ name, aliases = [], summary }) =>
        explained(`  ${[name, ...aliases].join(", ")}`, summary, width)
      ),
    ]),
    "",
    "Options:",
    ...COMMON_FLAGS.map((flag) => flagLines(flag, width)),
    "",
    wrapped(`\`${program} COMMAND --help\` has the options of a command.`, width),
    "",
    "Examples:",
    ...examples.map((example) => `  ${program} ${example}`),
  ].join("\n");
}

function signature(flag: Flag): string {
  if (flag.kind === "switch" || flag.kind === "count") return `--${flag.name}`;
  return `--${flag.name} ${placeholderOf(flag as Option)}`;
}

/** The lines of one flag in the help. */
export function flagLines(flag: Flag, width: number = textWidth()): string {
  const short = flag.short === undefined ? "    " : `-${flag.short}, `;
  const also = flag.aliases?.map((alias) => `--${alias.replaceAll("-", "_")}`).join(", ");
  const help = also === undefined ? flag.help : `${flag.help} Also ${also}.`;
  return explained(`  ${short}${signature(flag)}`, help, width);
}

/** A name and its meaning, beside it or, for a long name, below it. */
export function explained(name: string, meaning: string, width: number = textWidth()): string {
  const indent = " ".repeat(COLUMN);
  const text = wrapped(meaning, width, indent, COLUMN);
  return name.length < COLUMN - 1 ? name.padEnd(COLUMN) + text : `${name}\n${indent}${text}`;
}
