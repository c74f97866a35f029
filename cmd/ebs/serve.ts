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
import { forbidCoreFiles } from "../../uring/process.ts";
import { defaultJournals, defaultStore } from "../../volume/folders.ts";
import { storeFailure } from "../../volume/store_like.ts";
import { SERVE_FLAGS } from "../line/ebs_commands.ts";
import { parseFlags, type Values } from "../line/flags.ts";
import { absolute } from "../line/target_line.ts";
import { writeLine } from "../program/print.ts";
import { EXIT_FAILURE } from "../program/run.ts";
import { setLogLevel, type StderrLog } from "../server/log.ts";
import { openFilesLimit } from "../server/open_files.ts";
import { runService } from "../server/service.ts";
import { natsTerms } from "./terms.ts";

/** Serves until a signal comes. Returns the exit status. */
export async function serveNode(args: readonly string[], log: StderrLog): Promise<number> {
  const values = parseFlags("ublk-ebs serve", SERVE_FLAGS, args);
  // Of what the key becomes, V8 and OpenSSL have copies.
  if (values["key-file"] !== undefined) forbidCoreFiles();
  setLogLevel(values.quiet ? LOG_WARN : LOG_INFO);
  return await runService(log, async () => {
    const node = await started(termsOf(values));
    return {
      status: `node ${values.node}`,
      ended: node.closed.then((error) => ({ reason: closedWords(error), status: EXIT_FAILURE })),
      announce: async () => {
        if (!values.quiet) await writeLine(`${values.node} serves`);
      },
      close: async () => await node[Symbol.asyncDispose](),
    };
  });
}

function closedWords(error: unknown): string {
  return `the connection is closed${error instanceof Error ? `: ${error.message}` : ""}`;
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
    keyFile: values["key-file"] && path(values["key-file"]),
    disk: {
      journalSize: values["journal-size"],
      cache: values.cache,
      cacheDir: values["cache-dir"] && path(values["cache-dir"]),
      durability: values.durability as NodeTerms["disk"]["durability"],
    },
    connections: values.connections,
    replicas: values.replicas,
    openFiles: openFilesLimit(readSmallFile("/proc/self/limits")),
    sockets: path(values.sockets ?? `${journal}/.ebs/sockets`),
    report: (line) => logLine(LOG_WARN, line),
  };
}
