/**
 * `ublk add` and `ublk recover`: the process that serves.
 *
 * @module
 */

import { Control } from "../ctrl/control.ts";
import { recover, serve, type ServedDevice } from "../device/serve.ts";
import { type AddLine, parseAdd } from "./_add_line.ts";
import { reporter } from "./_background.ts";
import { dumpText, readDump } from "./_dump.ts";
import { logToStderr } from "./_log.ts";
import { parseRecover } from "./_recover_line.ts";
import { type ErrorLog, exitStatus, writeLine } from "./_run.ts";
import { serveUntilEnd, type Serving } from "./_serving.ts";

/** Serves in this process, to its end; returns the exit status. */
export async function serveHere(
  command: "add" | "recover",
  args: readonly string[],
  inBackground: boolean,
): Promise<number> {
  const stderr = logToStderr("ublk", LOG_LINE.test(args.join(" ")));
  // Who has started this process learns of errors, even where the log cannot be had.
  const log: ErrorLog = {
    error(message) {
      stderr.error(message);
      if (inBackground) reporter.failed(message);
    },
    flush: () => stderr.flush(),
  };
  return await exitStatus(log, () => {
    const { line, ...rest } = command === "add" ? adding(args) : recovering(args);
    let logged: string | null = null;
    return serveUntilEnd({
      ...rest,
      program: "ublk",
      target: line.target.name,
      metrics: line.metrics,
      log: stderr,
      nameLog: inBackground ? (id) => logged = reporter.nameLog(id) : undefined,
      announce: async (device) => {
        const text = await announcement(device, line, logged);
        if (inBackground) reporter.ready(text, device.info().reductions);
        else if (text !== "") await writeLine(text);
      },
    });
  });
}

/** Flags that make the log tell more than usual. */
const LOG_LINE = /(^| )(-v+|--verbose|--debug[-_]mask)( |=|$)/;

type Order = { line: AddLine } & Pick<Serving, "argv" | "cwd" | "start">;

function adding(args: readonly string[]): Order {
  const line = parseAdd("ublk add", args, Deno.cwd());
  const { backend, options } = line;
  return { line, argv: args, start: (signal) => serve({ ...options, backend, signal }) };
}

function recovering(args: readonly string[]): Order {
  const { id, argv, cwd, explicit, ...line } = parseRecover(args);
  const { backend } = line;
  // What else a device was made with stays as it is, whatever the command line says.
  const { threads, perIoDaemons, fixedFile, sharedMemory, logLevel } = line.options;
  const options = { threads, perIoDaemons, fixedFile, sharedMemory, logLevel };
  return {
    line,
    argv,
    cwd,
    start: (signal) => recover(id, { ...options, backend, signal, allowVolatile: explicit }),
  };
}

async function announcement(
  device: ServedDevice,
  { values }: AddLine,
  log: string | null,
): Promise<string> {
  if (values.quiet) return "";
  if (values.json) return JSON.stringify({ ...device.info(), pid: Deno.pid, log });
  await using control = await Control.open();
  return dumpText(await readDump(control, device.id));
}
