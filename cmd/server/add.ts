/**
 * The serving process of `ublk add` and `ublk recover`.
 *
 * @module
 */

import { Control } from "../../ctrl/control.ts";
import { recover, type ServedDevice } from "../../device/serve.ts";
import { type AddLine, parseAdd } from "../line/add_line.ts";
import { recoveryOptions } from "../line/device_flags.ts";
import { reporter } from "./background.ts";
import { dumpText, readDump } from "../devices/dump.ts";
import { logToStderr, setLogLevel } from "./log.ts";
import { keepShort } from "./log_cap.ts";
import { addOrder } from "./order.ts";
import { jsonText, writeText } from "../program/print.ts";
import { recordOf } from "../devices/records.ts";
import { ownArguments } from "../line/kublk_line.ts";
import { parseRecover } from "../line/recover_line.ts";
import { type ErrorLog, serverStatus } from "../program/run.ts";
import { endWhereMeasured, serveUntilEnd, type Serving } from "./serving.ts";

/** Serves in this process until the device ends; returns the exit status. */
export async function serveHere(
  command: "add" | "recover",
  args: readonly string[],
  inBackground: boolean,
): Promise<number> {
  const stderr = logToStderr("ublk", { inBackground });
  // Report errors to the process that started this one even if there is no log.
  const log: ErrorLog = {
    get serves() {
      return stderr.serves;
    },
    error(message) {
      stderr.error(message);
      // An uncaught error while the device is being made, or exists, does not end it. It goes to
      // the log only.
      if (inBackground && !stderr.serves) reporter.failed(message);
    },
    flush: () => stderr.flush(),
  };
  const status = await serverStatus(log, async (isTriedAgain) => {
    const { line, ...rest } = command === "add" ? await adding(args) : await recovering(args);
    setLogLevel(line.options.logLevel!);
    if (command === "add" && line.resume) isTriedAgain();
    let logged: string | null = null;
    return serveUntilEnd({
      ...rest,
      program: "ublk",
      target: line.target.name,
      request: line.request,
      metrics: line.metrics,
      log: stderr,
      foreground: !inBackground,
      nameLog: inBackground
        ? async (id) => {
          // Continuing another log rewrites this one. A write of ours in between would be lost.
          logged = await stderr.betweenWrites(() => reporter.nameLog(id));
          if (logged !== null) stderr.onWritten = keepShort(logged);
          return logged;
        }
        : undefined,
      announce: async (device, warnings) => {
        const text = await announcement(device, line, logged);
        if (inBackground) {
          const { reductions, warnings: ofBackend } = device.info();
          reporter.ready(text, [...reductions, ...ofBackend, ...warnings]);
        } else if (text !== "") await writeText(text);
      },
    });
  });
  endWhereMeasured(status);
  return status;
}

type Order = { line: AddLine } & Pick<Serving, "needsRecord" | "start">;

async function adding(args: readonly string[]): Promise<Order> {
  const line = await parseAdd("ublk add", ownArguments("add", args), Deno.cwd());
  return { line, ...addOrder(line) };
}

async function recovering(args: readonly string[]): Promise<Order> {
  const { id, explicit, ...line } = await parseRecover(
    ownArguments("recover", args),
    async (id) => {
      await using control = await Control.open();
      return recordOf(id, (await control.getDevInfo(id)).ublksrv_pid);
    },
  );
  const kept = { ...recoveryOptions(line.options), backend: line.backend };
  return {
    line,
    start: (signal) => recover(id, { ...kept, signal, signals: false, allowVolatile: explicit }),
  };
}

async function announcement(
  device: ServedDevice,
  { values }: AddLine,
  log: string | null,
): Promise<string> {
  if (values.quiet) return "";
  if (values.json) return jsonText({ ...device.info(), pid: Deno.pid, log });
  await using control = await Control.open();
  return dumpText(await readDump(control, device.id));
}
