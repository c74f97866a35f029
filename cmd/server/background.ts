/**
 * A command that goes on in the background: the process that is typed starts another one, waits
 * until that has said that its device opens or why not, and ends.
 *
 * The first process does nothing else and imports next to nothing: what it waits for is the start
 * of a whole runtime, and its own start comes on top. So the second one reads the command line too.
 * It has a session of its own, its stdout and stderr are its log from the beginning, and what it
 * has to tell goes through a pipe at descriptor 3.
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

/** What is at stake for a server that stays in the mount namespace of a container. */
export const NAMESPACE_WARNING =
  "do not mount the disk in this mount namespace: a server that is " +
  "its last process waits for its own disk, and not even kill -9 ends it";

/** What begins the second process's arguments. */
export const IN_BACKGROUND = ":background";

/** Where the second process reports. */
const REPORT_FD = 3;

/** What the second process reports, as a line of JSON. */
type Report =
  /** The device opens: what to print, and which warnings there are. */
  | { readonly ready: string; readonly warnings: readonly string[] }
  /** It does not, because. */
  | { readonly error: string };

/**
 * `$0` is the folder. `$$` stays the process's number after `exec`, and names the log until the device
 * has one.
 */
const SCRIPT = `
log=$0/${startLogName("$$")}
[ -d "$0" ] || mkdir -p -m 700 "$0" 2>/dev/null
(umask 077; : >"$log") 2>/dev/null || log=/dev/null
exec "$@" 3>&1 >>"$log" 2>&1`;

/** The permissions that a server needs; those that this process has beyond them it passes on. */
const needed = (): Readonly<Record<string, string>> => ({
  ffi: "",
  read: "",
  write: `=${runFolder()}`,
  run: "=/bin/sh",
  sys: "=systemMemoryInfo",
  // Of a Unix socket Deno wants to know the path, and the device has no number yet.
  net: "",
  // So that it has the same idea of that folder as this one.
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

/** This program once more, with other arguments. */
function commandLine(args: readonly string[]): string[] {
  if (Deno.build.standalone) return [Deno.execPath(), ...args];
  const everything = isGranted({ name: "env" }) && isGranted({ name: "write" });
  const granted = everything ? ["--allow-all"] : permissions();
  return [Deno.execPath(), "run", "--quiet", "--no-prompt", ...granted, Deno.mainModule, ...args];
}

/**
 * Gives up what the server would hold of its caller's: descriptors, and the mount namespace where that
 * may end before the server does. The current folder it leaves itself, since what it is given on the
 * command line is relative to that.
 */
function letGoOfCaller(): void {
  // Each of the two on its own: a seccomp profile that refuses close_range refused every device.
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

/** Runs the command in another process, until that has reported; returns the exit status. */
export async function startInBackground(args: readonly string[]): Promise<number> {
  // First: what follows opens files itself, and would fail less plainly.
  checkOpenFiles();
  letGoOfCaller();
  const child = new Deno.Command("/bin/sh", {
    args: ["-c", SCRIPT, runFolder(), ...commandLine([IN_BACKGROUND, ...args])],
    stdin: "null",
    stdout: "piped",
    stderr: "null",
    // A session of its own: neither the terminal's Ctrl-C nor its end is for the server.
    detached: true,
  }).spawn();
  const interrupted = passOnSignals(child);
  const report = await readReport(child.stdout);
  const ready = report !== undefined && "ready" in report;
  // One that was told to end while it said so ends all the same.
  if (ready && interrupted() === undefined) return await tellReady(report, child);
  const { code, signal } = await child.status;
  const ownSignal = interrupted();
  if (report !== undefined && !ready) {
    writeError(`ublk: error: ${report.error}`);
  } else if (ownSignal === undefined) {
    const how = signal === null ? `with status ${code}` : `by ${signal}`;
    const said = lastLine(startLogPath(child.pid));
    writeError(`ublk: error: the server ended ${how} before it had a device${said}`);
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
    // Whoever does not get to know of the disk has no use for it.
    try {
      child.kill("SIGTERM");
    } catch {
      // It has ended.
    }
    await child.status;
    // Not as quietly as where nothing depends on it: the disk is gone.
    const { operation, reason, hint } = error as UblkError;
    throw new UblkError("SYSCALL_FAILED", { operation, reason, hint });
  }
  return EXIT_OK;
}

/** While it starts, whoever ends this process means the other one. */
function passOnSignals(child: Deno.ChildProcess): () => EndSignal | undefined {
  let first: EndSignal | undefined;
  for (const name of heardSignals()) {
    addListener(name, () => {
      first ??= name;
      try {
        child.kill("SIGTERM");
      } catch {
        // It has ended.
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
    // Not until the pipe is closed: a child of the server may hold it for longer.
    if (text.endsWith("\n")) return JSON.parse(text);
  }
  return undefined;
}

/**
 * The line of a crash that says most: the last that names an error, since what follows it is a stack
 * or an offer to print one; else the last that is no part of such.
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

/** Nobody waits any more, and the descriptor's number is somebody else's. */
let reported = false;

/** The second process's side. */
export const reporter = {
  /** The device opens. */
  ready(text: string, warnings: readonly string[]): void {
    report({ ready: text, warnings });
    reported = true;
    closeFd(REPORT_FD);
  },
  /** It does not. What goes wrong with a device that did is for the log alone. */
  failed(message: string): void {
    if (reported) return;
    try {
      report({ error: message });
    } catch {
      // Nobody waits any more; the log has it.
      return;
    }
    // What has a device has a log of that name, which stays.
    removeFile(startLogPath(Deno.pid));
  },
  /**
   * Gives this process's log its device's name, behind what a server before has left in a log of
   * that name; returns that, or null if there is none.
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
