/**
 * What the commands have in common: help and version, the one line of an error, the exit status.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";

/** All is well. */
export const EXIT_OK = 0;
/** It could not be done. */
export const EXIT_FAILURE = 1;
/** The command line is wrong; nothing was touched. */
export const EXIT_USAGE = 2;

/**
 * Writes a line, or several, to stdout.
 *
 * @throws {UblkError} `SYSCALL_FAILED` where nobody reads it.
 */
export function writeLine(text: string): Promise<void> {
  return writeOut(`${text}\n`);
}

/**
 * Writes to stdout.
 *
 * @throws {UblkError} `SYSCALL_FAILED` where nobody reads it.
 */
export async function writeOut(text: string): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += await Deno.stdout.write(bytes.subarray(at));
  } catch (cause) {
    throw new UblkError("SYSCALL_FAILED", {
      operation: "write to stdout",
      reason: cause instanceof Error ? cause.message : String(cause),
      hint: "give it a reader, or /dev/null",
      cause,
    });
  }
}

/** Where the one line of an error goes. */
export interface ErrorLog {
  /** Takes it. */
  error(message: string): void;
  /** Resolves once it is written, or nobody reads it. */
  flush(): Promise<void>;
}

/** The plain one: stderr, for a command that serves nothing and may well wait for its reader. */
export function errorLog(program: string): ErrorLog {
  return {
    error: (message) => console.error(`${program}: error: ${message.replaceAll(/\s*\n\s*/g, " ")}`),
    flush: () => Promise.resolve(),
  };
}

/** Runs a command to its exit status: what is thrown becomes one line on stderr. */
export async function exitStatus(log: ErrorLog, run: () => Promise<number>): Promise<number> {
  try {
    return await run();
  } catch (error) {
    // Whatever else is thrown is a bug, and its stack is wanted.
    if (!(error instanceof UblkError || error instanceof Deno.errors.NotCapable)) throw error;
    log.error(error.message);
    return error instanceof UblkError && error.code === "INVALID_ARGUMENT"
      ? EXIT_USAGE
      : EXIT_FAILURE;
  } finally {
    await log.flush();
  }
}
