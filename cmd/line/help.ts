/**
 * The help and version texts of the commands, made from their flags.
 *
 * @module
 */

import config from "../../deno.json" with { type: "json" };
import { type Option, placeholderOf } from "../../disk/option.ts";
import { COMMON_FLAGS, type Flag, type Syntax } from "./flags.ts";

const WIDTH = 24;

/** `ublk-mem 0.1.0`. */
export function versionText(program: string): string {
  return `${program} ${config.version}`;
}

/** The help of one command. */
export function helpText({ name, summary, flags, operands, notes }: Syntax): string {
  const required = flags.filter((flag) => flag.required).map((flag) => `${signature(flag)} `);
  return [
    `${name}: ${summary}`,
    "",
    `Usage: ${name} ${required.join("")}[OPTION]…${operands === undefined ? "" : ` ${operands}`}`,
    "",
    "Options:",
    ...[...flags, ...COMMON_FLAGS].map(flagLines),
    ...(notes === undefined ? [] : ["", notes]),
  ].join("\n");
}

/** The help of a program that has several commands. */
export function overviewText(
  program: string,
  summary: string,
  commands: readonly Syntax[],
): string {
  return [
    `${program}: ${summary}`,
    "",
    `Usage: ${program} COMMAND [OPTION]…`,
    "",
    "Commands:",
    ...commands.map((command) => {
      const name = command.name.slice(program.length + 1);
      return `  ${name.padEnd(WIDTH - 4)}  ${command.summary}`;
    }),
    "",
    "Options:",
    ...COMMON_FLAGS.map(flagLines),
    "",
    `\`${program} COMMAND --help\` has the options of a command.`,
  ].join("\n");
}

function signature(flag: Flag): string {
  if (flag.kind === "switch" || flag.kind === "count") return `--${flag.name}`;
  return `--${flag.name} ${placeholderOf(flag as Option)}`;
}

/** A flag's lines in the help. */
export function flagLines(flag: Flag): string {
  const short = flag.short === undefined ? "    " : `-${flag.short}, `;
  const left = `  ${short}${signature(flag)}`;
  const [first, ...others] = flag.help.split("\n");
  const also = flag.aliases?.map((alias) => `--${alias.replaceAll("-", "_")}`).join(", ");
  if (also !== undefined) others.push(`Also ${also}.`);
  const indent = " ".repeat(WIDTH + 2);
  const gap = left.length < WIDTH + 1 ? left.padEnd(WIDTH + 2) : `${left}\n${indent}`;
  return [gap + first, ...others.map((line) => indent + line)].join("\n");
}
