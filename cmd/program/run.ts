/**
 * The frame around every command: one line per error, the exit status, and the handling of uncaught
 * exceptions.
 *
 * @module
 */

import { isUblkError, stackText, thrownText } from "../../uapi/error.ts";
import { environmentVariable } from "../../uring/libc.ts";
import { withSuggestion } from "./misspelt.ts";
import { Excerpt } from "./excerpt.ts";
import { STDOUT_OPERATION, writeError } from "./print.ts";

/** Success. */
export const EXIT_OK = 0;
/** The command failed. */
export const EXIT_FAILURE = 1;
/** The command line is wrong; nothing was touched. */
export const EXIT_USAGE = 2;
/**
 * The reader of the output is gone: the status as if SIGPIPE (13) had ended the process, without a
 * message.
 */
const EXIT_UNREAD = 128 + 13;

/** The destination of error lines. */
export interface ErrorLog {
  /** Whether a device is being made or served. The process then survives uncaught errors. */
  readonly serves?: boolean;
  /**
   * Whether a closed stdout ends the command without a message, because nothing depends on the
   * command.
   */
  readonly isShort?: boolean;
  /** Whether an uncaught error means nothing. Omitted: none does. */
  ignores?(thrown: unknown): boolean;
  /** Writes an error line. */
  error(message: string): void;
  /** Writes a line of an excerpt. Omitted: excerpts are not shown. */
  detail?(line: string): void;
  /** Resolves once everything is written, or nobody reads it. */
  flush(): Promise<void>;
}

/**
 * Creates the plain log on stderr, for a command that serves nothing and may wait for its reader.
 */
export function errorLog(program: string): ErrorLog {
  return {
    isShort: true,
    error: (message) => writeError(`${program}: error: ${message}`),
    detail: writeError,
    flush: () => Promise.resolve(),
  };
}

/** Runs a command and returns its exit status. An error becomes one line on stderr. */
export async function exitStatus(log: ErrorLog, run: () => Promise<number>): Promise<number> {
  using _caught = catchUncaught(log);
  try {
    return await run();
  } catch (thrown) {
    const error = await asTyped(await withSuggestion(thrown));
    if (log.isShort && isUnread(error)) return EXIT_UNREAD;
    report(log, failureText(error), error);
    return isUsage(error) ? EXIT_USAGE : EXIT_FAILURE;
  } finally {
    await log.flush();
  }
}

/**
 * Runs a server and returns its exit status. With `--resume` the service manager tries again, unless
 * the status says that the command line is wrong. Other errors with that status may be temporary, such
 * as a file that the kernel has not released yet.
 *
 * @param run Calls its argument once the command line is read and has `--resume`.
 */
export async function serverStatus(
  log: ErrorLog,
  run: (isTriedAgain: () => void) => Promise<number>,
): Promise<number> {
  let again = false;
  const status = await exitStatus(log, () => run(() => again = true));
  return again && status === EXIT_USAGE ? EXIT_FAILURE : status;
}

/** Rewrites an error in terms of the command line. The table is loaded only when there is an error. */
async function asTyped(error: unknown): Promise<unknown> {
  return isUblkError(error) ? (await import("./dashes.ts")).withDashes(error) : error;
}

/**
 * Whether an error is about the command line. An error with a device is about that device's state
 * instead.
 */
function isUsage(error: unknown): boolean {
  return isUblkError(error) && error.code === "INVALID_ARGUMENT" && error.device === undefined;
}

/** Whether the reader of stdout has left, as in `ublk list | head -1`. */
function isUnread(error: unknown): boolean {
  return isUblkError(error) && error.operation === STDOUT_OPERATION &&
    error.cause instanceof Deno.errors.BrokenPipe;
}

/** Logs of nested commands in the same process, the innermost last. */
const catching: ErrorLog[] = [];

/**
 * Turns an uncaught error into one line: a rejected Promise of a module that nobody awaits, a bug
 * of ours in a timer. A server that is making or has a device continues: other threads serve the
 * device, and ending here would leave it behind.
 */
function catchUncaught(log: ErrorLog): Disposable {
  let ending = false;
  catching.push(log);
  const caught = (event: Event, thrown: unknown) => {
    event.preventDefault();
    if (log.ignores?.(thrown)) return;
    // One error may cause others, and the first is the most telling.
    if (ending || catching.at(-1) !== log) return;
    report(log, `uncaught: ${failureText(thrown)}`, thrown);
    ending = log.serves !== true;
    if (ending) void log.flush().finally(() => Deno.exit(EXIT_FAILURE));
  };
  const rejected = (event: PromiseRejectionEvent) => caught(event, event.reason);
  const thrown = (event: ErrorEvent) => caught(event, event.error);
  addEventListener("unhandledrejection", rejected);
  addEventListener("error", thrown);
  return {
    [Symbol.dispose]() {
      catching.pop();
      removeEventListener("unhandledrejection", rejected);
      removeEventListener("error", thrown);
    },
  };
}

function report(log: ErrorLog, message: string, thrown: unknown): void {
  log.error(message);
  const where = isUblkError(thrown) ? Excerpt.linesOf(thrown.cause) : [];
  for (const line of where) log.detail?.(line);
  // An operating error is complete in itself. For a bug, show the stack if the user wants it.
  if (isUblkError(thrown) || !wantsStacks()) return;
  for (const line of stackText(thrown).split("\n")) log.error(line);
}

/** Whether the user wants more than one line, by `-v` or `UBLK_DEBUG`. */
function wantsStacks(): boolean {
  if (Deno.args.some((arg) => /^(-[a-z]*v[a-z]*|--verbose)$/i.test(arg))) return true;
  try {
    // Through libc, because the programs do not get `--allow-env`.
    return (environmentVariable("UBLK_DEBUG") ?? "") !== "";
  } catch {
    return false;
  }
}

/** Remedies for system errors, whatever the operation, by errno. */
const REMEDIES: Readonly<Record<string, string>> = {
  7: "give a shorter one, or put it in a file of options (--config)",
  11: "the limit on processes (`ulimit -u`) may be too low",
  12: "give it more memory (`ulimit -v`)",
  23: "the machine has too many files open",
  24: "raise the limit (`ulimit -n`)",
  28: "make room",
};

/** Converts a thrown value to one line: the cause, and the remedy if one is known. */
export function failureText(thrown: unknown): string {
  if (isUblkError(thrown)) return thrown.message;
  const [line] = thrownText(thrown).replace(/^Error: /, "").split("\n");
  // Deno's own message for a missing permission.
  if (line.startsWith("NotCapable: ")) return line.slice("NotCapable: ".length);
  const errno = /\(os error (\d+)\)/.exec(line)?.[1];
  const remedy = errno === undefined ? "UBLK_DEBUG=1 shows where" : REMEDIES[errno];
  return remedy === undefined ? line : `${line}; ${remedy}`;
}
