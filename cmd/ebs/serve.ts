/**
 * Runs `ublk-ebs serve` in the foreground, until a signal ends it.
 *
 * @module
 */

import config from "../../deno.json" with { type: "json" };
import { logLine } from "../../device/log.ts";
import { EbsError } from "../../ebs/error.ts";
import { type NodeTerms, startNode } from "../../ebs/run.ts";
import { LOG_INFO, LOG_WARN } from "../../queue/log_events.ts";
import { UblkError } from "../../uapi/error.ts";
import { readSmallFile } from "../../uring/libc.ts";
import { defaultJournals, defaultStore } from "../../volume/folders.ts";
import { storeFailure } from "../../volume/store_like.ts";
import { SERVE_FLAGS } from "../line/ebs_commands.ts";
import { parseFlags, type Values } from "../line/flags.ts";
import { absolute } from "../line/target_line.ts";
import { writeLine } from "../program/print.ts";
import { EXIT_FAILURE, EXIT_OK } from "../program/run.ts";
import { SIGNAL_NUMBERS, watchSignals } from "../program/signals.ts";
import { setLogLevel, type StderrLog } from "../server/log.ts";
import { notifyWish, ServiceManager } from "../server/notify.ts";
import { natsTerms } from "./terms.ts";

/** Serves until a signal comes. Returns the exit status. */
export async function serveNode(args: readonly string[], log: StderrLog): Promise<number> {
  const values = parseFlags("ublk-ebs serve", SERVE_FLAGS, args);
  setLogLevel(values.quiet ? LOG_WARN : LOG_INFO);
  const forced = Promise.withResolvers<number>();
  using watch = watchSignals((name) => {
    log.error(`${name} again: ending by force`);
    forced.resolve(128 + SIGNAL_NUMBERS[name]);
  });
  const wish = notifyWish(readSmallFile("/proc/self/environ"), Deno.pid);
  using manager = wish && new ServiceManager(wish);
  manager?.starting();
  const node = await started(termsOf(values));
  log.started();
  log.serves = true;
  const ended = Promise.withResolvers<string>();
  watch.signal.addEventListener("abort", () => ended.resolve(`${watch.signal.reason}`));
  if (watch.signal.aborted) ended.resolve(`${watch.signal.reason}`);
  let status = EXIT_OK;
  void node.closed.then((error) => {
    status = EXIT_FAILURE;
    ended.resolve(`the connection is closed${error instanceof Error ? `: ${error.message}` : ""}`);
  });
  const serve = async () => {
    try {
      if (!values.quiet) await writeLine(`${values.node} serves`);
      await manager?.ready(`node ${values.node}`, () => true);
      const reason = await ended.promise;
      logLine(LOG_INFO, `ending: ${reason}`);
      await manager?.stopping("ending");
      return status;
    } finally {
      await node[Symbol.asyncDispose]();
    }
  };
  return await Promise.race([serve(), forced.promise]).finally(() => log.serves = false);
}

async function started(terms: NodeTerms) {
  try {
    return await startNode(terms);
  } catch (error) {
    if (!(error instanceof EbsError)) throw storeFailure(error);
    throw new UblkError("INVALID_ARGUMENT", {
      ...{ operation: "start the service", reason: error.message, cause: error },
      hint: "choose another name",
    });
  }
}

function termsOf(values: Values<typeof SERVE_FLAGS>): NodeTerms {
  const { node, store = defaultStore(), access = "unix", host = "127.0.0.1", zone } = values;
  const path = (text: string) => absolute(text, Deno.cwd());
  const journal = path(values.journal ?? defaultJournals());
  return {
    ...{ node, store, journal, host, zone, version: config.version },
    access: access as NodeTerms["access"],
    nats: natsTerms(values, `ublk-ebs ${node}`),
    disk: {
      journalSize: values["journal-size"],
      cache: values.cache,
      cacheDir: values["cache-dir"] && path(values["cache-dir"]),
    },
    sockets: path(values.sockets ?? `${journal}/.ebs/sockets`),
    report: (line) => logLine(LOG_WARN, line),
  };
}
