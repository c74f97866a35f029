/**
 * The frame of every command: the one line of an error, the exit status, and what becomes of an
 * exception that nobody has caught.
 *
 * @module
 */

import { stackText } from "../../queue/messages.ts";
import { isUblkError, thrownText } from "../../uapi/error.ts";
import { readSmallFile } from "../../uring/libc.ts";
import { withSuggestion } from "./misspelt.ts";
import { Excerpt } from "./excerpt.ts";
import { STDOUT_OPERATION, writeError } from "./print.ts";

/** All is well. */
export const EXIT_OK = 0;
/** It could not be done. */
export const EXIT_FAILURE = 1;
/** The command line is wrong; nothing was touched. */
export const EXIT_USAGE = 2;
/** Nobody reads the output any more: as if SIGPIPE (13) had ended the process, and as quietly. */
const EXIT_UNREAD = 128 + 13;

/** Where the one line of an error goes. */
export interface ErrorLog {
  /** Whether a device is made or served, so that the process goes on after a mistake of its own. */
  readonly serves?: boolean;
  /** Whether a reader who has had enough ends the command quietly, since nothing depends on it. */
  readonly isShort?: boolean;
  /** Takes it. */
  error(message: string): void;
  /** Takes a line that shows where. Without it none is shown. */
  detail?(line: string): void;
  /** Resolves once it is written, or nobody reads it. */
  flush(): Promise<void>;
}

/** The plain one: stderr, for a command that serves nothing and may well wait for its reader. */
export function errorLog(program: string): ErrorLog {
  return {
    isShort: true,
    error: (message) => writeError(`${program}: error: ${message}`),
    detail: writeError,
    flush: () => Promise.resolve(),
  };
}

/** Runs a command to its exit status: what is thrown becomes one line on stderr. */
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
 * Runs a server to its exit status. With `--resume` whoever starts it tries again, unless the command
 * line is wrong: what is wrong beyond it may pass, such as a file that the kernel has not yet let go of.
 *
 * @param run Is given a function to call once the command line is read, and says `--resume`.
 */
export async function serverStatus(
  log: ErrorLog,
  run: (isTriedAgain: () => void) => Promise<number>,
): Promise<number> {
  let again = false;
  const status = await exitStatus(log, () => run(() => again = true));
  return again && status === EXIT_USAGE ? EXIT_FAILURE : status;
}

/** An error in the words of a command line. The table of the words is loaded where there is an error. */
async function asTyped(error: unknown): Promise<unknown> {
  return isUblkError(error) ? (await import("./dashes.ts")).withDashes(error) : error;
}

/** A mistake on the command line; one about a device is of what the device is, or is not. */
function isUsage(error: unknown): boolean {
  return isUblkError(error) && error.code === "INVALID_ARGUMENT" && error.device === undefined;
}

/** `ublk list | head -1`: the reader has what it wanted. */
function isUnread(error: unknown): boolean {
  return isUblkError(error) && error.operation === STDOUT_OPERATION &&
    error.cause instanceof Deno.errors.BrokenPipe;
}

/** Of a command that runs another in the same process, that of the inner one comes last. */
const catching: ErrorLog[] = [];

/**
 * Makes one line of what nobody has caught: a Promise of a module that is rejected when nobody
 * waits for it, a mistake of ours in a timer. A server that makes or has a device goes on: the threads
 * that serve it are others, and to end there and then would leave the device behind.
 */
function catchUncaught(log: ErrorLog): Disposable {
  let ending = false;
  catching.push(log);
  const caught = (event: Event, thrown: unknown) => {
    event.preventDefault();
    // One mistake may bring others about, and the first says most.
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
  // An operating error says all there is; of a mistake the stack is wanted, by those who ask.
  if (isUblkError(thrown) || !wantsStacks()) return;
  for (const line of stackText(thrown).split("\n")) log.error(line);
}

/** Whether the user asks for more than a line, by `-v` or `UBLK_DEBUG`. */
function wantsStacks(): boolean {
  if (Deno.args.some((arg) => /^(-[a-z]*v[a-z]*|--verbose)$/i.test(arg))) return true;
  try {
    // By libc, since the programs are not given `--allow-env`.
    return /(^|\0)UBLK_DEBUG=[^\0]/.test(readSmallFile("/proc/self/environ"));
  } catch {
    return false;
  }
}

/** Errors of the machine that have a remedy whatever was tried, by errno. */
const REMEDIES: Readonly<Record<string, string>> = {
  7: "give a shorter one, or put it in a file of options (--config)",
  11: "the limit on processes (`ulimit -u`) may be too low",
  12: "give it more memory (`ulimit -v`)",
  23: "the machine has too many files open",
  24: "raise the limit (`ulimit -n`)",
  28: "make room",
};

/** A thrown value as the one line of an error: cause, and remedy where one is known. */
export function failureText(thrown: unknown): string {
  if (isUblkError(thrown)) return thrown.message;
  const [line] = thrownText(thrown).replace(/^Error: /, "").split("\n");
  // Deno's own words for a permission that it was not given.
  if (line.startsWith("NotCapable: ")) return line.slice("NotCapable: ".length);
  const errno = /\(os error (\d+)\)/.exec(line)?.[1];
  const remedy = errno === undefined ? "UBLK_DEBUG=1 shows where" : REMEDIES[errno];
  return remedy === undefined ? line : `${line}; ${remedy}`;
}
