/**
 * The only place where commands write to stdout and stderr. Text from outside (names of files and
 * members, messages of modules, records) is escaped here, so that it can neither control a terminal
 * nor forge a line.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { printable, printableJson, printableText } from "../../uapi/printable.ts";

/** The operation of a `UblkError` about stdout: it has no reader, or there is no room. */
export const STDOUT_OPERATION = "write to stdout";

/** A destination for bytes: `Deno.stderr`, or a test's. */
export interface ByteSink {
  /** Writes some of the bytes, and returns the number written. */
  write(bytes: Uint8Array): Promise<number>;
}

/** Stderr, for a log that never waits. Its lines are escaped beforehand. */
export const STDERR: ByteSink = Deno.stderr;

/** The terminal at stderr, for a line that is redrawn. */
export const STDERR_TERMINAL: { isTerminal(): boolean; writeSync(bytes: Uint8Array): number } =
  Deno.stderr;

/** Whether stdout is a terminal. */
export function isTerminal(): boolean {
  return Deno.stdout.isTerminal();
}

/** The width of the terminal at stdout, in characters; undefined if unknown. */
export function terminalColumns(): number | undefined {
  try {
    const { columns } = Deno.consoleSize();
    return columns > 0 ? columns : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Writes one line to stdout.
 *
 * @throws {UblkError} `SYSCALL_FAILED` if nobody reads it.
 */
export async function writeLine(line: string): Promise<void> {
  await writeLines([line]);
}

/**
 * Writes lines to stdout. Each stays one line, whatever it contains.
 *
 * @throws {UblkError} `SYSCALL_FAILED` if nobody reads it.
 */
export async function writeLines(lines: readonly string[]): Promise<void> {
  await writeRaw(lines.map((line) => `${printable(line)}\n`).join(""));
}

/**
 * Writes a trusted text of several lines: a help, a script.
 *
 * @throws {UblkError} `SYSCALL_FAILED` if nobody reads it.
 */
export async function writeText(text: string): Promise<void> {
  await writeRaw(`${printableText(text)}\n`);
}

/**
 * Writes JSON made by {@linkcode jsonText}.
 *
 * @throws {UblkError} `SYSCALL_FAILED` if nobody reads it.
 */
export async function writeJson(value: unknown, indent?: number): Promise<void> {
  await writeRaw(`${jsonText(value, indent)}\n`);
}

/** Converts a value to JSON that is safe to print on a terminal; bigints become `"0x…"`. */
export function jsonText(value: unknown, indent?: number): string {
  return printableJson(JSON.stringify(
    value,
    (_, part) => typeof part === "bigint" ? `0x${part.toString(16)}` : part,
    indent,
  ));
}

/**
 * Writes a frame with our control sequences to a terminal. The caller escapes the rest.
 *
 * @throws {UblkError} `SYSCALL_FAILED` if nobody reads it.
 */
export async function writeFrame(frame: string): Promise<void> {
  await writeRaw(frame);
}

/** Writes a frame synchronously, for the end of a process. The terminal may be gone. */
export function writeFrameNow(frame: string): void {
  writeSync(Deno.stdout, frame);
}

let leaveScreen: (() => void) | undefined;

/** Registers the function that leaves the current full screen, or undefined if there is none. */
export function showScreen(leave: (() => void) | undefined): void {
  leaveScreen = leave;
}

/** Restores the terminal's previous contents, before a permanent line or the end. */
export function endScreen(): void {
  leaveScreen?.();
}

/** Writes one line to stderr, and ignores failures. */
export function writeError(line: string): void {
  endScreen();
  writeSync(Deno.stderr, `${printable(line)}\n`);
}

/**
 * Writes bytes that are no text. The caller sees to it that stdout is no terminal.
 *
 * @throws {UblkError} `SYSCALL_FAILED` if nobody reads it.
 */
export async function writeBytes(bytes: Uint8Array): Promise<void> {
  try {
    for (let at = 0; at < bytes.length;) at += await Deno.stdout.write(bytes.subarray(at));
  } catch (cause) {
    const isUnread = cause instanceof Deno.errors.BrokenPipe;
    throw new UblkError("SYSCALL_FAILED", {
      operation: STDOUT_OPERATION,
      reason: cause instanceof Error ? cause.message : String(cause),
      hint: isUnread ? "give it a reader, or /dev/null" : "send it elsewhere",
      cause,
    });
  }
}

async function writeRaw(text: string): Promise<void> {
  await writeBytes(new TextEncoder().encode(text));
}

function writeSync(
  stream: { writeSync(bytes: Uint8Array): number },
  text: string,
): void {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += stream.writeSync(bytes.subarray(at));
  } catch {
    // There is nowhere else to report that stderr cannot be written.
  }
}
