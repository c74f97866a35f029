/**
 * Runs a command in the background. The process that the user starts spawns a second one, waits
 * until that reports that its device opens or why it does not, and exits.
 *
 * The first process does little else and imports next to nothing: the user waits for the start of a
 * whole second runtime in addition to the first one's. So the command line, too, is parsed by the
 * second process. That process has its own session, its stdout and stderr go to its log from the
 * beginning, and it reports through a pipe at descriptor 3.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { closeFd, writeText as writeTo } from "../../uring/libc.ts";
import { isMachinesMountNamespace, leaveMountNamespace } from "../../uring/namespace.ts";
import { keepDescriptors } from "../../uring/process.ts";
import { hasAdminRights } from "../../uring/rights.ts";
import { addListener } from "../../uring/signals.ts";
import { continueLog } from "./log_cap.ts";
import { logPath, removeFile, startLogName, startLogPath } from "../devices/records.ts";
import { checkOpenFiles } from "./open_files.ts";
import { writeError, writeText } from "../program/print.ts";
import { EXIT_FAILURE, EXIT_OK } from "../program/run.ts";
import { runFolder, RUNTIME_VARIABLE } from "../devices/run_folder.ts";
import { type EndSignal, heardSignals, SIGNAL_NUMBERS } from "../program/signals.ts";

/** Consequence for a server that stays in the mount namespace of a container. */
export const NAMESPACE_WARNING =
  "do not mount the disk in this mount namespace: a server that is " +
  "its last process waits for its own disk, and not even kill -9 ends it";

/** The first argument of the second process. */
export const IN_BACKGROUND = ":background";

/** The descriptor to which the second process writes its report. */
const REPORT_FD = 3;

/** The report of the second process, as a line of JSON. */
type Report =
  /** The device opens: the text to print, and any warnings. */
  | { readonly ready: string; readonly warnings: readonly string[] }
  /** The device does not open, for this reason. */
  | { readonly error: string };

/**
 * `$0` is the folder. `$$` stays the process's number after `exec`; it names the log until the
 * device has a number.
 */
const SCRIPT = `
log=$0/${startLogName("$$")}
[ -d "$0" ] || mkdir -p -m 700 "$0" 2>/dev/null
(umask 077; : >"$log") 2>/dev/null || log=/dev/null
exec "$@" 3>&1 >>"$log" 2>&1`;

/** The permissions that a server needs. Wider permissions of this process are passed on. */
const needed = (): Readonly<Record<string, string>> => ({
  ffi: "",
  read: "",
  write: `=${runFolder()}`,
  run: "=/bin/sh",
  sys: "=systemMemoryInfo",
  // Deno wants the path of a Unix socket, and the device has no number yet.
  net: "",
  // The server must find the same folder as this process.
  ...(isGranted({ name: "env", variable: RUNTIME_VARIABLE })
    ? { env: `=${RUNTIME_VARIABLE}` }
    : {}),
});

function isGranted(descriptor: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(descriptor).state === "granted";
}

function permissions(): string[] {
  return Object.entries(needed()).map(([name, scope]) => {
    const all = isGranted({ name } as Deno.PermissionDescriptor);
    return `--allow-${name}${all ? "" : scope}`;
  });
}

/** The command line that runs this program again with other arguments. */
function commandLine(args: readonly string[]): string[] {
  if (Deno.build.standalone) return [Deno.execPath(), ...args];
  const everything = (["env", "write", "run"] as const).every((name) => isGranted({ name }));
  const granted = everything ? ["--allow-all"] : permissions();
  return [Deno.execPath(), "run", "--quiet", "--no-prompt", ...granted, Deno.mainModule, ...args];
}

/**
 * Releases inherited resources that the server must not keep: descriptors, and the mount namespace
 * if that may end before the server does. The server leaves the current folder itself, because
 * paths on the command line are relative to it.
 */
function letGoOfCaller(): void {
  // Handle each failure separately: once, a seccomp profile that refuses close_range made every
  // device fail.
  orWarn(keepDescriptors, "the server holds what its caller had open");
  if (!hasAdminRights() || isMachinesMountNamespace()) return;
  orWarn(leaveMountNamespace, NAMESPACE_WARNING);
}

function orWarn(step: () => void, consequence: string): void {
  try {
    step();
  } catch (error) {
    if (!(error instanceof UblkError)) throw error;
    writeError(`ublk: warning: ${error.message}; ${consequence}`);
  }
}

/** Runs the command in another process, and waits for its report; returns the exit status. */
export async function startInBackground(
  args: readonly string[],
  program = "ublk",
): Promise<number> {
  // First, because the following steps open files themselves and would fail with less clear errors.
  checkOpenFiles();
  letGoOfCaller();
  const child = new Deno.Command("/bin/sh", {
    args: ["-c", SCRIPT, runFolder(), ...commandLine([IN_BACKGROUND, ...args])],
    stdin: "null",
    stdout: "piped",
    stderr: "null",
    // Its own session, so that neither the terminal's Ctrl-C nor its end reaches the server.
    detached: true,
  }).spawn();
  const interrupted = passOnSignals(child);
  const report = await readReport(child.stdout);
  const ready = report !== undefined && "ready" in report;
  // If it was told to end while it reported, it still ends.
  if (ready && interrupted() === undefined) return await tellReady(report, child);
  const { code, signal } = await child.status;
  const ownSignal = interrupted();
  if (report !== undefined && !ready) {
    writeError(`${program}: error: ${report.error}`);
  } else if (ownSignal === undefined) {
    const how = signal === null ? `with status ${code}` : `by ${signal}`;
    const said = lastLine(startLogPath(child.pid));
    writeError(`${program}: error: the server ended ${how} before it had a device${said}`);
  }
  if (isGranted({ name: "write", path: runFolder() })) {
    removeFile(startLogPath(child.pid));
  }
  if (ownSignal !== undefined && (report === undefined || ready)) {
    return 128 + SIGNAL_NUMBERS[ownSignal];
  }
  return code === 0 ? EXIT_FAILURE : code;
}

async function tellReady(
  { ready, warnings }: { ready: string; warnings: readonly string[] },
  child: Deno.ChildProcess,
): Promise<number> {
  for (const warning of warnings) writeError(`ublk: warning: ${warning}`);
  try {
    if (ready !== "") await writeText(ready);
  } catch (error) {
    // A caller who never learns of the disk has no use for it.
    try {
      child.kill("SIGTERM");
    } catch {
      // The server has ended.
    }
    await child.status;
    // Not the quiet end for an unread stdout: the disk is gone, so the failure must be reported.
    const { operation, reason, hint } = error as UblkError;
    throw new UblkError("SYSCALL_FAILED", { operation, reason, hint });
  }
  return EXIT_OK;
}

/** Passes signals on to the server while it starts: the user means that process. */
function passOnSignals(child: Deno.ChildProcess): () => EndSignal | undefined {
  let first: EndSignal | undefined;
  for (const name of heardSignals()) {
    addListener(name, () => {
      first ??= name;
      try {
        child.kill("SIGTERM");
      } catch {
        // The server has ended.
      }
    });
  }
  return () => first;
}

async function readReport(stream: ReadableStream<Uint8Array>): Promise<Report | undefined> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const bytes of stream) {
    text += decoder.decode(bytes, { stream: true });
    // Do not wait until the pipe is closed: a child of the server may hold it open for longer.
    if (text.endsWith("\n")) return JSON.parse(text);
  }
  return undefined;
}

/**
 * The most telling line of a crash: the last line that names an error, because a stack or an offer
 * to print one follows it; else the last line that is not part of those.
 */
export function tellingLine(log: string): string | undefined {
  const lines = log.split("\n").filter((line) => line.trim() !== "");
  return lines.findLast((line) => /\b(error|fatal|panicked)\b/i.test(line) && !/^\s/.test(line)) ??
    lines.findLast((line) => !/^(\s|note:|[-=]+$)/.test(line)) ?? lines.at(-1);
}

function lastLine(path: string): string {
  try {
    const line = tellingLine(Deno.readTextFileSync(path));
    return line === undefined ? "" : `: ${line}`;
  } catch {
    return "";
  }
}

/** The report is sent and its descriptor closed; the number may be reused. */
let reported = false;

/** The second process's side of the protocol. */
export const reporter = {
  /** Reports that the device opens. */
  ready(text: string, warnings: readonly string[]): void {
    report({ ready: text, warnings });
    reported = true;
    closeFd(REPORT_FD);
  },
  /** Reports that the device does not open. Failures after `ready` go to the log only. */
  failed(message: string): void {
    if (reported) return;
    try {
      report({ error: message });
    } catch {
      // Nobody is waiting any more. The log contains the error.
      return;
    }
    // A server with a device has renamed its log; that log stays.
    removeFile(startLogPath(Deno.pid));
  },
  /**
   * Renames this process's log after the device, and appends it to any log that a previous server
   * left under that name. Returns the new path, or null if there is no log.
   */
  nameLog(id: number): string | null {
    try {
      continueLog(startLogPath(Deno.pid), logPath(id));
      return logPath(id);
    } catch {
      return null;
    }
  },
};

function report(what: Report): void {
  writeTo(REPORT_FD, `${JSON.stringify(what)}\n`);
}
