/**
 * `ublk`: adds, recovers, lists, changes, stops and deletes ublk devices. See `docs/ublk.md`.
 *
 * Each command's code is loaded on demand, because start-up is most of the run time of short
 * commands.
 *
 * @module
 */

import { AS_KUBLK, commandArgs } from "./line/args.ts";
import {
  DEL_FLAGS,
  FEATURES_FLAGS,
  INFO_FLAGS,
  LIST_FLAGS,
  QUIESCE_FLAGS,
  SET_AFFINITY_FLAGS,
  STATS_FLAGS,
  STOP_FLAGS,
  TOP_FLAGS,
  UPDATE_SIZE_FLAGS,
} from "./line/command_flags.ts";
import type { Command } from "./line/command.ts";
import {
  COMMAND_GROUPS,
  COMMANDS,
  EXAMPLES,
  findCommand,
  FOREIGN_NAMES,
  syntaxOf,
} from "./line/commands.ts";
import { asksFor, usageError, wantsAll } from "./line/flags.ts";
import { readingOf, type Run } from "./line/reading.ts";
import { misspelt } from "./program/misspelt.ts";
import { writeLine, writeText } from "./program/print.ts";
import { type ErrorLog, errorLog, EXIT_OK, EXIT_USAGE, exitStatus } from "./program/run.ts";

const reading = readingOf("ublk");

/** Wraps a command that serves a device, in the background by default. */
function serving(name: "add" | "recover"): Run {
  return async (args) => {
    if (name === "add" && args.some((arg) => /^--config(=|$)/.test(arg))) {
      const { expandConfig } = await import("./line/config.ts");
      const { ownSpelling } = await import("./line/spellings.ts");
      const typed = withoutMark(args);
      const lines = await expandConfig(ownSpelling(name, typed), Deno.cwd());
      // kublk's defaults come last: what the file says wins over them too.
      return await addAll(lines.map((line) => typed === args ? line : [AS_KUBLK, ...line]));
    }
    return isForeground(args) ? await serveHere(name, args) : await serveBehind(name, args);
  };
}

/**
 * Looks for the flag before the rest of the line is parsed: that is left to the serving process.
 */
function isForeground(args: readonly string[]): boolean {
  return args.includes("--foreground");
}

async function serveHere(name: "add" | "recover", args: readonly string[]): Promise<number> {
  return await (await import("./server/add.ts")).serveHere(name, args, false);
}

async function serveBehind(name: "add" | "recover", args: readonly string[]): Promise<number> {
  return await (await import("./server/background.ts")).startInBackground([name, ...args]);
}

/** Adds the devices of a file one by one, and stops at the first failure. */
async function addAll(lines: readonly string[][]): Promise<number> {
  if (lines.length > 1 && lines.some(isForeground)) {
    const cause = `it has ${lines.length} devices, and a process serves one`;
    throw usageError("--foreground", cause, "leave it out, or give each device a file");
  }
  for (const line of lines) {
    const status = isForeground(line)
      ? await serveHere("add", line)
      : await serveBehind("add", line);
    if (status !== EXIT_OK) return status;
  }
  return EXIT_OK;
}

const RUNS: Readonly<Record<string, Run>> = {
  add: serving("add"),
  recover: serving("recover"),
  list: reading(LIST_FLAGS, async () => (await import("./devices/show.ts")).list),
  info: reading(INFO_FLAGS, async () => (await import("./devices/show.ts")).info),
  get_params: reading(INFO_FLAGS, async () => (await import("./devices/show.ts")).getParams),
  features: reading(FEATURES_FLAGS, async () => (await import("./devices/show.ts")).features),
  stats: reading(STATS_FLAGS, async () => (await import("./watch/stats.ts")).stats),
  top: reading(TOP_FLAGS, async () => (await import("./watch/top.ts")).top),
  stop: reading(STOP_FLAGS, async () => (await import("./devices/delete.ts")).stop),
  del: reading(DEL_FLAGS, async () => (await import("./devices/delete.ts")).del),
  update_size: reading(
    UPDATE_SIZE_FLAGS,
    async () => (await import("./devices/manage.ts")).updateSize,
  ),
  quiesce: reading(QUIESCE_FLAGS, async () => (await import("./devices/manage.ts")).quiesce),
  set_affinity: reading(
    SET_AFFINITY_FLAGS,
    async () => (await import("./devices/manage.ts")).setQueueAffinity,
  ),
  kublk: reading([], () => {
    // With a command it never comes here.
    const error = usageError("ublk kublk", "it needs a command", "see `ublk --help`");
    return Promise.reject(error);
  }),
  "init-backend": reading([], async () => {
    const { initBackend } = await import("./server/init_backend.ts");
    return (_values, _log, words) => initBackend(words);
  }),
  completions: reading([], async () => {
    const { completions } = await import("./completion/completions.ts");
    return (_values, _log, words) => completions(words);
  }),
};

/**
 * Handles `ublk help [COMMAND]`, `ublk COMMAND --help`, and ublksrv's `ublk help -t TARGET`.
 *
 * @param args The line without the command.
 */
async function help(command: Command | undefined, args: readonly string[]): Promise<void> {
  const { helpText, overviewText } = await import("./line/help.ts");
  const syntax = command === undefined ? undefined : await syntaxOf(command, args);
  await writeText(
    syntax === undefined
      ? overviewText("ublk", "serve and manage block devices", COMMAND_GROUPS, EXAMPLES)
      : helpText(syntax, wantsAll(args)),
  );
}

/** The command that `ublk help` should describe, undefined for all of them; and the rest of the line. */
async function helped(
  args: readonly string[],
): Promise<[command: Command | undefined, rest: readonly string[]]> {
  const at = args.findIndex((arg) => !arg.startsWith("-"));
  const flags = at < 0 ? args : args.slice(0, at);
  if (flags.some((arg) => /^(-t|--type)/.test(arg))) return [findCommand("add"), args];
  if (at < 0 || args[at] === "help" || args[at] === "version") return [undefined, args];
  return [findCommand(args[at]) ?? await unknown(args[at]), args.toSpliced(at, 1)];
}

/**
 * Rejects an unknown command.
 *
 * @throws {UblkError} `INVALID_ARGUMENT`, with the command that was perhaps meant.
 */
async function unknown(name: string): Promise<never> {
  const meant = Object.hasOwn(FOREIGN_NAMES, name) ? FOREIGN_NAMES[name] : undefined;
  const error = usageError(
    name,
    name.startsWith("-") ? "unknown flag before a command" : "unknown command",
    meant !== undefined
      ? `did you mean \`ublk ${meant}\`?`
      : name.startsWith("-")
      ? "put the command first; see `ublk --help`"
      : "see `ublk --help`",
  );
  if (meant !== undefined) throw error;
  const { ALL } = await import("./line/targets.ts");
  const targets = ALL.flatMap((target) => [target.name, ...target.aliases ?? []]);
  const commands = COMMANDS.flatMap((command) => [command.name, ...command.aliases ?? []]);
  throw misspelt(
    error,
    name,
    [...commands, ...targets],
    (word) => `did you mean \`ublk ${commands.includes(word) ? word : `add ${word}`}\`?`,
  );
}

/**
 * Marks `add` and `recover`, so that the serving process adds kublk's defaults
 * (`line/kublk_line.ts`).
 */
function asKublk([command, ...rest]: readonly string[]): readonly string[] {
  const serves = command === "add" || command === "recover";
  return [...command === undefined ? [] : [command], ...serves ? [AS_KUBLK] : [], ...rest];
}

/** The arguments of a command as they were typed, without what {@linkcode asKublk} adds. */
function withoutMark(args: readonly string[]): readonly string[] {
  return args[0] === AS_KUBLK ? args.slice(1) : args;
}

async function main(typed: readonly string[], log: ErrorLog): Promise<number> {
  const isKublk = typed[0] === "kublk" && /^[^-]/.test(typed[1] ?? "");
  const args = isKublk ? asKublk(typed.slice(1)) : typed;
  const [name, ...rest] = args;
  if (name === "__complete") {
    return await (await import("./completion/complete.ts")).answer(rest);
  }
  if (name === undefined) {
    await help(undefined, []);
    return EXIT_USAGE;
  }
  const chosen = findCommand(name);
  const wish = name === "help" ? name : asksFor(args);
  // ublksrv uses "-v" for the version.
  if (wish === "version" || name === "version" || name === "-v" && rest.length === 0) {
    await writeLine((await import("./line/help.ts")).versionText("ublk"));
  } else if (wish === "help") {
    await help(...(name === "help" ? await helped(rest) : [chosen, withoutMark(rest)] as const));
  } else {
    return await (chosen === undefined ? unknown(name) : RUNS[chosen.name](rest, log, chosen));
  }
  return EXIT_OK;
}

async function start(): Promise<number> {
  const [first, second, ...rest] = Deno.args;
  // Started by `server/background.ts`.
  if (first === ":background" && (second === "add" || second === "recover")) {
    return await (await import("./server/add.ts")).serveHere(second, rest, true);
  }
  const log = errorLog("ublk");
  return await exitStatus(log, async () => main(await commandArgs(), log));
}

if (import.meta.main) Deno.exit(await start());
