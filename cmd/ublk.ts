/**
 * `ublk`: adds, recovers, lists, changes, stops and deletes ublk devices. See `docs/ublk.md`.
 *
 * Each command is loaded when it is asked for: the start of the program is most of what the short
 * ones take.
 *
 * @module
 */

import { AS_KUBLK, commandArgs } from "./line/args.ts";
import {
  asksFor,
  type Flag,
  parseLine,
  type Syntax,
  usageError,
  type Values,
} from "./line/flags.ts";
import { writeLine, writeText } from "./program/print.ts";
import { type ErrorLog, errorLog, EXIT_OK, exitStatus } from "./program/run.ts";

/** One command of the program. */
interface Command {
  readonly name: string;
  /** What it does, in a few words. */
  readonly summary: string;
  /** What its help tells. */
  syntax(args: readonly string[]): Promise<Omit<Syntax, "name" | "summary">>;
  /** Runs it, and returns the exit status. */
  run(args: readonly string[], log: ErrorLog): Promise<number>;
}

/** A command that is all flags, and perhaps words, and the file that has it. */
function command<const F extends readonly Flag[]>(
  name: string,
  summary: string,
  load: () => Promise<{
    flags: F;
    run: (values: Values<F>, log: ErrorLog, words: readonly string[]) => Promise<number>;
  }>,
  more: { operands?: string; notes?: string } = {},
): Command {
  return {
    name,
    summary,
    syntax: async () => ({ flags: (await load()).flags, ...more }),
    async run(args, log) {
      const { flags, run } = await load();
      const seeHelp = `see \`ublk ${name} --help\``;
      const { values, words } = parseLine<F>(flags, args, { seeHelp, unknown: seeHelp });
      if (words.length > 0 && more.operands === undefined) {
        throw usageError(words[0], "unexpected argument", seeHelp);
      }
      return await run(values, log, words);
    },
  };
}

/** A command that serves a device, in the background unless told otherwise. */
function serving(name: "add" | "recover", summary: string): Command {
  return {
    name,
    summary,
    syntax: async (args) => await (await import("./line/add_help.ts")).servingSyntax(name, args),
    async run(args) {
      if (name === "add" && args.some((arg) => /^--config(=|$)/.test(arg))) {
        const { expandConfig } = await import("./line/config.ts");
        return await addAll(await expandConfig(args, Deno.cwd()));
      }
      return isForeground(args) ? await serveHere(name, args) : await serveBehind(name, args);
    },
  };
}

/** Before anything else of the line is read, which is the business of the process that serves. */
function isForeground(args: readonly string[]): boolean {
  return args.includes("--foreground");
}

async function serveHere(name: "add" | "recover", args: readonly string[]): Promise<number> {
  return await (await import("./server/add.ts")).serveHere(name, args, false);
}

async function serveBehind(name: "add" | "recover", args: readonly string[]): Promise<number> {
  return await (await import("./server/background.ts")).startInBackground([name, ...args]);
}

/** Adds the devices of a file, one after the other, up to the first that fails. */
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

const COMMANDS: readonly Command[] = [
  serving("add", "make a device and serve it, in the background"),
  serving("recover", "serve a device again whose server is gone"),
  command("list", "list all devices", async () => {
    const { LIST_FLAGS: flags, list: run } = await import("./devices/show.ts");
    return { flags, run };
  }),
  command("info", "show everything about a device", async () => {
    const { INFO_FLAGS: flags, info: run } = await import("./devices/show.ts");
    return { flags, run };
  }),
  command("stats", "show what devices have done, and how long it took", async () => {
    const { STATS_FLAGS: flags, stats: run } = await import("./watch/stats.ts");
    return { flags, run };
  }),
  command(
    "top",
    "show what devices do, live",
    async () => {
      const { TOP_FLAGS: flags, top: run } = await import("./watch/top.ts");
      return { flags, run };
    },
    {
      notes:
        "On a terminal it goes on until q or Ctrl-C, and p shows and hides queues. Elsewhere it\n" +
        "prints one table after the other.",
    },
  ),
  command("get_params", "show the parameters of a device as the kernel has them", async () => {
    const { INFO_FLAGS: flags, getParams: run } = await import("./devices/show.ts");
    return { flags, run };
  }),
  command(
    "stop",
    "stop a device: its disk disappears, flushed",
    async () => {
      const { STOP_FLAGS: flags, stop: run } = await import("./devices/delete.ts");
      return { flags, run };
    },
    { notes: "A server of this project deletes its device once it is stopped, and exits with 0." },
  ),
  command(
    "del",
    "stop and delete devices, also those that a killed server left",
    async () => {
      const { DEL_FLAGS: flags, del: run } = await import("./devices/delete.ts");
      return { flags, run };
    },
  ),
  command("update_size", "give a device another size", async () => {
    const { UPDATE_SIZE_FLAGS: flags, updateSize: run } = await import("./devices/manage.ts");
    return { flags, run };
  }),
  command(
    "quiesce",
    "take a device away from its server, for another to recover",
    async () => {
      const { QUIESCE_FLAGS: flags, quiesce: run } = await import("./devices/manage.ts");
      return { flags, run };
    },
    { notes: "For devices that were made with --recovery, on Linux 6.16 and newer." },
  ),
  command(
    "init-backend",
    "write a backend of your own to start from",
    async () => {
      const { INIT_BACKEND_FLAGS: flags, initBackend } = await import("./server/init_backend.ts");
      return { flags, run: (_values, _log, words) => initBackend(words) };
    },
    { operands: "[FILE]", notes: "FILE is my_backend.ts unless named, and must not be there." },
  ),
  command(
    "set_affinity",
    "choose the CPUs of a queue's serving thread",
    async () => {
      const { SET_AFFINITY_FLAGS: flags, setQueueAffinity } = await import("./devices/manage.ts");
      return { flags, run: (values, _log, words) => setQueueAffinity(values, words) };
    },
    { operands: "CPULIST", notes: "CPULIST is as the kernel writes them: 0-3,8." },
  ),
  command(
    "completions",
    "print what makes a shell complete command lines",
    async () => {
      const { COMPLETIONS_FLAGS: flags, completions } = await import("./line/completions.ts");
      return {
        flags,
        run: async (_values, _log, words) =>
          await completions(words, await Promise.all(COMMANDS.map((one) => syntaxOf(one, [])))),
      };
    },
    {
      operands: "bash|zsh|fish",
      notes: "It is for ublk and for ublk-mem and its like. Where it goes: docs/ublk.md.",
    },
  ),
  command("features", "list what the kernel's driver offers", async () => {
    const { FEATURES_FLAGS: flags, features: run } = await import("./devices/show.ts");
    return { flags, run };
  }),
];

/** What the help of a command tells. */
async function syntaxOf(command: Command, args: readonly string[]): Promise<Syntax> {
  const { name, summary } = command;
  return { name: `ublk ${name}`, summary, ...await command.syntax(args) };
}

/** `update-size` and `update_size` are one. */
function findCommand(name: string | undefined): Command | undefined {
  const plain = (text: string | undefined) => text?.replaceAll("-", "_");
  return COMMANDS.find((command) => plain(command.name) === plain(name));
}

async function tell(
  wish: "help" | "version",
  chosen: Command | undefined,
  args: readonly string[],
): Promise<void> {
  const { helpText, overviewText, versionText } = await import("./line/help.ts");
  if (wish === "version") return await writeLine(versionText("ublk"));
  const named = ({ name, summary }: Command) => ({ name: `ublk ${name}`, summary, flags: [] });
  await writeText(
    chosen === undefined
      ? overviewText("ublk", "serve and manage block devices", COMMANDS.map(named))
      : helpText(await syntaxOf(chosen, args)),
  );
}

/** Has the process that serves take for granted what kublk does (`line/kublk_line.ts`). */
function asKublk([command, ...rest]: readonly string[]): readonly string[] {
  const serves = command === "add" || command === "recover";
  return [...command === undefined ? [] : [command], ...serves ? [AS_KUBLK] : [], ...rest];
}

async function main(typed: readonly string[], log: ErrorLog): Promise<number> {
  const args = typed[0] === "kublk" ? asKublk(typed.slice(1)) : typed;
  const [name, ...rest] = args;
  const chosen = findCommand(name);
  const wish = asksFor(args) ?? (name === "help" ? "help" : undefined);
  if (wish !== undefined) {
    await tell(wish, chosen ?? findCommand(rest[0]), rest);
    return EXIT_OK;
  }
  if (name === undefined) throw usageError("ublk", "it needs a command", "see `ublk --help`");
  if (chosen === undefined) throw usageError(name, "unknown command", "see `ublk --help`");
  return await chosen.run(rest, log);
}

async function start(): Promise<number> {
  const [first, second, ...rest] = Deno.args;
  // What `server/background.ts` starts.
  if (first === ":background" && (second === "add" || second === "recover")) {
    return await (await import("./server/add.ts")).serveHere(second, rest, true);
  }
  const log = errorLog("ublk");
  return await exitStatus(log, async () => main(await commandArgs(), log));
}

if (import.meta.main) Deno.exit(await start());
