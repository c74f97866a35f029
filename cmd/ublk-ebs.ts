/**
 * `ublk-ebs`: serves volumes to a control plane over NATS. See `docs/ebs.md`.
 *
 * @module
 */

import { isSocketAftermath } from "../ebs/nats/aftermath.ts";
import { commandArgs } from "./line/args.ts";
import type { Command } from "./line/command.ts";
import {
  EBS_COMMANDS,
  EBS_EXAMPLES,
  EBS_GROUPS,
  ebsSyntax,
  findEbsCommand,
  STATUS_FLAGS,
} from "./line/ebs_commands.ts";
import { asksFor, usageError, wantsAll } from "./line/flags.ts";
import { readingOf, type Run } from "./line/reading.ts";
import { misspelt } from "./program/misspelt.ts";
import { writeLine, writeText } from "./program/print.ts";
import { type ErrorLog, errorLog, EXIT_OK, EXIT_USAGE, exitStatus } from "./program/run.ts";

const NAME = "ublk-ebs";

const RUNS: Readonly<Record<string, Run>> = {
  async serve(args) {
    const { logToStderr } = await import("./server/log.ts");
    const log = Object.assign(logToStderr(NAME), { ignores: isSocketAftermath });
    return await exitStatus(
      log,
      async () => await (await import("./ebs/serve.ts")).serveNode(args, log),
    );
  },
  status: readingOf(NAME)(STATUS_FLAGS, async () => (await import("./ebs/status.ts")).status),
};

async function help(command: Command | undefined, all: boolean): Promise<void> {
  const { helpText, overviewText } = await import("./line/help.ts");
  await writeText(
    command === undefined
      ? overviewText(NAME, "volumes for a control plane, over NATS", EBS_GROUPS, EBS_EXAMPLES)
      : helpText(ebsSyntax(command), all),
  );
}

function unknown(name: string): never {
  const isFlag = name.startsWith("-");
  const error = usageError(
    name,
    isFlag ? "unknown flag before a command" : "unknown command",
    isFlag ? "put the command first; see `ublk-ebs --help`" : "see `ublk-ebs --help`",
  );
  const names = EBS_COMMANDS.map((command) => command.name);
  throw misspelt(error, name, names, (word) => `did you mean \`ublk-ebs ${word}\`?`);
}

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === "__complete") {
    const { answer } = await import("./completion/complete.ts");
    return await answer(rest, {
      ...{ commands: EBS_COMMANDS, find: findEbsCommand, syntaxOf: ebsSyntax },
    });
  }
  if (name === undefined) {
    await help(undefined, false);
    return EXIT_USAGE;
  }
  const command = findEbsCommand(name);
  const wish = name === "help" ? name : asksFor(args);
  if (wish === "version" || name === "version") {
    await writeLine((await import("./line/help.ts")).versionText(NAME));
  } else if (wish === "help") {
    await help(name === "help" ? findEbsCommand(rest[0]) : command, wantsAll(args));
  } else {
    return await (command === undefined ? unknown(name) : RUNS[command.name](rest, log, command));
  }
  return EXIT_OK;
}

const log: ErrorLog = { ...errorLog(NAME), ignores: isSocketAftermath };

if (import.meta.main) {
  Deno.exit(await exitStatus(log, async () => await main(await commandArgs())));
}
