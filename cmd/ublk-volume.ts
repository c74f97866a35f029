/**
 * `ublk-volume`: makes, attaches, lists, checks and removes durable volumes. See `docs/volumes.md`.
 *
 * Each command's code is loaded on demand, because start-up is most of the run time of short
 * commands.
 *
 * @module
 */

import { storeOfValues } from "../backends/volume.ts";
import { commandArgs } from "./line/args.ts";
import type { Command } from "./line/command.ts";
import { asksFor, usageError, wantsAll } from "./line/flags.ts";
import { readingOf, type Run } from "./line/reading.ts";
import {
  CHECK_FLAGS,
  CLONE_FLAGS,
  COPY_FLAGS,
  CREATE_FLAGS,
  DETACH_FLAGS,
  DIFF_FLAGS,
  EXPORT_FLAGS,
  findVolumeCommand,
  FLATTEN_FLAGS,
  GC_FLAGS,
  IMPORT_FLAGS,
  LS_FLAGS,
  REKEY_FLAGS,
  RESIZE_FLAGS,
  RM_FLAGS,
  ROLLBACK_FLAGS,
  SCRUB_FLAGS,
  SNAPSHOT_FLAGS,
  SNAPSHOTS_FLAGS,
  SYNC_FLAGS,
  VOLUME_COMMANDS,
  VOLUME_EXAMPLES,
  VOLUME_GROUPS,
  VOLUME_INFO_FLAGS,
  VOLUME_STATS_FLAGS,
  volumeSyntax,
} from "./line/volume_commands.ts";
import { misspelt } from "./program/misspelt.ts";
import { writeLine, writeText } from "./program/print.ts";
import { type ErrorLog, errorLog, EXIT_OK, EXIT_USAGE, exitStatus } from "./program/run.ts";

const reading = readingOf("ublk-volume", (values) => {
  const store = storeOfValues(values as Readonly<Record<string, unknown>>);
  return store === undefined ? values : { ...values, store };
});

/** The line of `ublk add` that attaches a volume. */
const attached = (args: readonly string[]) => ["-t", "volume", ...args];

async function attachBehind(args: readonly string[]): Promise<number> {
  const { startInBackground } = await import("./server/background.ts");
  return await startInBackground(["add", ...attached(args)], "ublk-volume");
}

const RUNS: Readonly<Record<string, Run>> = {
  create: reading(CREATE_FLAGS, async () => (await import("./volume/create.ts")).create),
  attach: async (args) =>
    args.includes("--foreground")
      ? await (await import("./server/add.ts")).serveHere("add", attached(args), false)
      : await attachBehind(args),
  detach: reading(DETACH_FLAGS, async () => (await import("./volume/detach.ts")).detach),
  ls: reading(LS_FLAGS, async () => (await import("./volume/show.ts")).ls),
  info: reading(VOLUME_INFO_FLAGS, async () => (await import("./volume/show.ts")).info),
  stats: reading(VOLUME_STATS_FLAGS, async () => (await import("./volume/stats.ts")).stats),
  check: reading(CHECK_FLAGS, async () => (await import("./volume/check.ts")).check),
  scrub: reading(SCRUB_FLAGS, async () => (await import("./volume/scrub.ts")).scrub),
  diff: reading(DIFF_FLAGS, async () => (await import("./volume/diff.ts")).diff),
  import: reading(IMPORT_FLAGS, async () => (await import("./volume/transfer.ts")).importFile),
  export: reading(EXPORT_FLAGS, async () => (await import("./volume/transfer.ts")).exportFile),
  copy: reading(COPY_FLAGS, async () => (await import("./volume/copy.ts")).copy),
  sync: reading(SYNC_FLAGS, async () => (await import("./volume/sync.ts")).sync),
  resize: reading(RESIZE_FLAGS, async () => (await import("./volume/resize.ts")).resize),
  rekey: reading(REKEY_FLAGS, async () => (await import("./volume/rekey.ts")).rekey),
  gc: reading(GC_FLAGS, async () => (await import("./volume/gc.ts")).gc),
  snapshot: reading(
    SNAPSHOT_FLAGS,
    async () => (await import("./volume/snapshots.ts")).snapshot,
  ),
  snapshots: reading(
    SNAPSHOTS_FLAGS,
    async () => (await import("./volume/snapshots.ts")).snapshots,
  ),
  rollback: reading(
    ROLLBACK_FLAGS,
    async () => (await import("./volume/snapshots.ts")).rollback,
  ),
  clone: reading(CLONE_FLAGS, async () => (await import("./volume/clones.ts")).clone),
  flatten: reading(FLATTEN_FLAGS, async () => (await import("./volume/clones.ts")).flatten),
  rm: reading(RM_FLAGS, async () => (await import("./volume/remove.ts")).remove),
};

async function help(command: Command | undefined, all: boolean): Promise<void> {
  const { helpText, overviewText } = await import("./line/help.ts");
  await writeText(
    command === undefined
      ? overviewText(
        "ublk-volume",
        "durable volumes as block devices",
        VOLUME_GROUPS,
        VOLUME_EXAMPLES,
      )
      : helpText(volumeSyntax(command), all),
  );
}

function unknown(name: string): never {
  const isFlag = name.startsWith("-");
  const error = usageError(
    name,
    isFlag ? "unknown flag before a command" : "unknown command",
    isFlag ? "put the command first; see `ublk-volume --help`" : "see `ublk-volume --help`",
  );
  const names = VOLUME_COMMANDS.flatMap((command) => [command.name, ...command.aliases ?? []]);
  throw misspelt(error, name, names, (word) => `did you mean \`ublk-volume ${word}\`?`);
}

async function main(args: readonly string[], log: ErrorLog): Promise<number> {
  const [name, ...rest] = args;
  if (name === "__complete") {
    const { answer } = await import("./completion/complete.ts");
    const commands = VOLUME_COMMANDS;
    return await answer(rest, { commands, find: findVolumeCommand, syntaxOf: volumeSyntax });
  }
  if (name === undefined) {
    await help(undefined, false);
    return EXIT_USAGE;
  }
  const command = findVolumeCommand(name);
  const wish = name === "help" ? name : asksFor(args);
  if (wish === "version" || name === "version") {
    await writeLine((await import("./line/help.ts")).versionText("ublk-volume"));
  } else if (wish === "help") {
    await help(name === "help" ? findVolumeCommand(rest[0]) : command, wantsAll(args));
  } else {return await (command === undefined
      ? unknown(name)
      : RUNS[command.name](rest, log, command));}
  return EXIT_OK;
}

async function start(): Promise<number> {
  const [first, second, ...rest] = Deno.args;
  // Started by `server/background.ts`.
  if (first === ":background" && second === "add") {
    return await (await import("./server/add.ts")).serveHere(second, rest, true);
  }
  const log = errorLog("ublk-volume");
  return await exitStatus(log, async () => main(await commandArgs(), log));
}

if (import.meta.main) Deno.exit(await start());
