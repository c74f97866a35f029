/**
 * Runs `ublk-nbd` in the foreground, until a signal ends it or its only client leaves.
 *
 * Once clients may come, the URIs are printed to stdout; nothing else is printed there, because a
 * client may be at its other end. The log goes to stderr.
 *
 * @module
 */

import { volumeFiles } from "../../backends/volume.ts";
import { logLine } from "../../device/log.ts";
import { type NbdServer, serveNbd } from "../../nbd.ts";
import { LOG_INFO, LOG_WARN } from "../../queue/log_events.ts";
import { isUblkError, UblkError } from "../../uapi/error.ts";
import { readSmallFile } from "../../uring/libc.ts";
import { type ExportLine, NBD_CONFIG, type NbdServerValues, parseNbd } from "../line/nbd_line.ts";
import { writeJson, writeLines } from "../program/print.ts";
import { EXIT_OK } from "../program/run.ts";
import { setLogLevel, type StderrLog } from "./log.ts";
import { openFilesLimit } from "./open_files.ts";
import { runService } from "./service.ts";

/** Descriptors of the process itself, and of half-open connections. */
const OTHER_FILES = 384;
/** Of a disk that is no volume. */
const DISK_FILES = 16;
const CONNECTIONS = 64;

/** Serves what a command line asks for. Returns the exit status. */
export async function serveExports(args: readonly string[], log: StderrLog): Promise<number> {
  const { exports, server: values } = await linesOf(args);
  setLogLevel(values.quiet ? LOG_WARN : LOG_INFO);
  checkFiles(values.connections ?? CONNECTIONS, exports);
  return await runService(log, async () => {
    const server = await serveNbd({ exports: exports.map(exportOf), ...optionsOf(values) });
    return {
      status: `serving ${server.uris.join(" ")}`,
      ended: server.finished.then(() => ({ reason: "the client has left", status: EXIT_OK })),
      announce: () => announce(server, values),
      close: () => server.close(),
    };
  });
}

async function announce({ uris }: NbdServer, { quiet, json, listen }: NbdServerValues) {
  if (quiet || listen.includes("stdio")) return;
  if (json) await writeJson({ uris });
  else if (uris.length > 0) await writeLines(uris);
}

async function linesOf(
  args: readonly string[],
): Promise<{ exports: readonly ExportLine[]; server: NbdServerValues }> {
  const cwd = Deno.cwd();
  const lines = args.some((arg) => /^--config(=|$)/.test(arg))
    ? await (await import("../line/config.ts")).expandConfig(args, cwd, {
      command: "ublk-nbd",
      kind: NBD_CONFIG,
    })
    : [args];
  const parsed = await Promise.all(lines.map((line) => parseNbd(line, cwd)));
  return { exports: parsed.map((line) => line.export), server: parsed[0].server };
}

const exportOf = ({ name, description, readOnly, backend }: ExportLine) => ({
  ...{ readOnly, backend },
  ...name === undefined ? {} : { name },
  ...description === undefined ? {} : { description },
});

function optionsOf(values: NbdServerValues) {
  const { listen, connections, memory, deadline } = values;
  const tls = tlsOf(values);
  return {
    report: (line: string) => logLine(LOG_WARN, line),
    ...listen.length === 0 ? {} : { listen },
    ...connections === undefined ? {} : { connections },
    ...memory === undefined ? {} : { memory },
    ...deadline === undefined ? {} : { deadlineMs: deadline },
    ...tls === undefined ? {} : { tls },
  };
}

function tlsOf(values: NbdServerValues) {
  const { "tls-cert": cert, "tls-key": key, "tls-client-ca": clientCa } = values;
  if (cert === undefined || key === undefined) return undefined;
  return {
    ...{ cert: textOf(cert), key: textOf(key) },
    ...clientCa === undefined
      ? { required: values["tls-required"] }
      : { clientCa: textOf(clientCa) },
  };
}

function textOf(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UblkError("INVALID_ARGUMENT", {
      ...{ operation: path, reason, hint: "give a readable file in PEM" },
      cause: isUblkError(error) ? undefined : error,
    });
  }
}

/** The most descriptors that the process may need. */
export function filesOf(
  connections: number,
  exports: readonly Pick<ExportLine, "target" | "journalBytes">[],
): number {
  const disks = exports.map(({ target, journalBytes }) =>
    target === "volume" ? volumeFiles(journalBytes) : DISK_FILES
  );
  return disks.reduce((sum, files) => sum + files, connections + OTHER_FILES);
}

/** Deno panics if it runs out of descriptors, and every client would lose its disk. */
function checkFiles(connections: number, exports: readonly ExportLine[]): void {
  const limit = openFilesLimit(readSmallFile("/proc/self/limits"));
  const needed = filesOf(connections, exports);
  if (limit >= needed) return;
  throw new UblkError("SYSCALL_FAILED", {
    operation: "start the server",
    reason: `it may open ${limit} files, and needs ${needed}`,
    hint: "raise the limit (`ulimit -n`), or give fewer --connections or exports",
  });
}
