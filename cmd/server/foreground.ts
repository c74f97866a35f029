/**
 * Runs a program for one kind of disk in the foreground, until a signal or another command ends it.
 *
 * Once the disk can be opened, its path is printed to stdout; nothing else is printed there. The
 * log goes to stderr.
 *
 * @module
 */

import type { Target } from "../../disk/target.ts";
import { type AddLine, parseAdd } from "../line/add_line.ts";
import { commandArgs } from "../line/args.ts";
import { asksFor, usageError, wantsAll } from "../line/flags.ts";
import { helpText, versionText } from "../line/help.ts";
import { programSyntax } from "../line/program.ts";
import { writeJson, writeLine, writeText } from "../program/print.ts";
import { EXIT_OK, serverStatus } from "../program/run.ts";
import { logToStderr, setLogLevel, type StderrLog } from "./log.ts";
import { addOrder } from "./order.ts";
import { Progress } from "./progress.ts";
import { endWhereMeasured, serveUntilEnd } from "./serving.ts";

/**
 * Runs a program for one kind of disk with this process's arguments, and exits at its end.
 *
 * @param name Its name, as in `line/program.ts`.
 */
export async function runProgram(name: string, target: Target): Promise<never> {
  const log = logToStderr(name);
  const status = await serverStatus(log, async (isTriedAgain) => {
    const args = await commandArgs();
    if (args[0] === "__complete") {
      const { answer } = await import("../completion/complete.ts");
      return await answer(args.slice(1), programSyntax(name, target));
    }
    const wish = asksFor(args);
    if (wish === undefined) return await serveDisk(name, target, args, log, isTriedAgain);
    await writeText(
      wish === "help" ? await programHelp(name, target, wantsAll(args)) : versionText(name),
    );
    return EXIT_OK;
  });
  endWhereMeasured(status);
  Deno.exit(status);
}

async function programHelp(name: string, target: Target, all: boolean): Promise<string> {
  const { wrappersHelp } = await import("../line/wraps.ts");
  const syntax = programSyntax(name, target);
  return helpText({ ...syntax, notes: `${wrappersHelp()}\n\n${syntax.notes}` }, all);
}

async function serveDisk(
  name: string,
  target: Target,
  args: readonly string[],
  log: StderrLog,
  isTriedAgain: () => void,
): Promise<number> {
  const progress = target.progress === undefined ? undefined : new Progress(target.progress);
  const line = await parseAdd(name, await ownLine(name, target, args), Deno.cwd(), {
    target,
    more: progress === undefined ? {} : { progress: progress.memory },
  });
  setLogLevel(line.options.logLevel!);
  if (line.resume) isTriedAgain();
  const { start, ...order } = addOrder(line);
  return await serveUntilEnd({
    ...order,
    program: name,
    target: line.target.name,
    request: line.request,
    log,
    foreground: true,
    metrics: line.metrics,
    start: async (signal) => {
      using _shown = progress?.show();
      return await start(signal);
    },
    announce: (device) => announce(device.info(), line),
  });
}

/** The command line, with any file of options that it names expanded. */
async function ownLine(
  command: string,
  target: Target,
  args: readonly string[],
): Promise<readonly string[]> {
  if (!args.some((arg) => /^--config(=|$)/.test(arg))) return args;
  const { expandConfig } = await import("../line/config.ts");
  const lines = await expandConfig(args, Deno.cwd(), { command, target });
  if (lines.length === 1) return lines[0];
  const cause = `it has ${lines.length} devices, and ${command} serves one`;
  throw usageError("--config", cause, "give each device a file, or use `ublk add`");
}

async function announce(
  info: { readonly path: string },
  { values }: AddLine,
): Promise<void> {
  if (values.quiet) return;
  if (values.json) await writeJson(info);
  else await writeLine(info.path);
}
