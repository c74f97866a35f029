/**
 * The one place where the commands write to stdout and stderr. Text that others wrote (names of
 * files and members, messages of modules, records) is escaped here, so that it can neither steer a
 * terminal nor forge a line.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { printable, printableJson, printableText } from "../../uapi/printable.ts";

/** The operation of a `UblkError` about stdout: nobody reads it, or there is no room. */
export const STDOUT_OPERATION = "write to stdout";

/** Where bytes go: `Deno.stderr`, or a test's. */
export interface ByteSink {
  /** Takes some of the bytes and says how many. */
  write(bytes: Uint8Array): Promise<number>;
}

/** Stderr, for a log that never waits. Its lines are escaped before. */
export const STDERR: ByteSink = Deno.stderr;

/** The terminal at stderr, for a line that is drawn over. */
export const STDERR_TERMINAL: { isTerminal(): boolean; writeSync(bytes: Uint8Array): number } =
  Deno.stderr;

/** Whether stdout is a terminal. */
export function isTerminal(): boolean {
  return Deno.stdout.isTerminal();
}

/** The width of the terminal at stdout in characters; undefined where it does not tell. */
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
 * @throws {UblkError} `SYSCALL_FAILED` where nobody reads it.
 */
export async function writeLine(line: string): Promise<void> {
  await writeLines([line]);
}

/**
 * Writes lines to stdout, each of which stays one line whatever is in it.
 *
 * @throws {UblkError} `SYSCALL_FAILED` where nobody reads it.
 */
export async function writeLines(lines: readonly string[]): Promise<void> {
  await writeRaw(lines.map((line) => `${printable(line)}\n`).join(""));
}

/**
 * Writes a text of our own, of several lines: a help, a script.
 *
 * @throws {UblkError} `SYSCALL_FAILED` where nobody reads it.
 */
export async function writeText(text: string): Promise<void> {
  await writeRaw(`${printableText(text)}\n`);
}

/**
 * Writes JSON that {@linkcode jsonText} made.
 *
 * @throws {UblkError} `SYSCALL_FAILED` where nobody reads it.
 */
export async function writeJson(value: unknown, indent?: number): Promise<void> {
  await writeRaw(`${jsonText(value, indent)}\n`);
}

/** A value as JSON that is as harmless to a terminal as the text is; bigints become `"0x…"`. */
export function jsonText(value: unknown, indent?: number): string {
  return printableJson(JSON.stringify(
    value,
    (_, part) => typeof part === "bigint" ? `0x${part.toString(16)}` : part,
    indent,
  ));
}

/**
 * Writes a frame for a terminal, whose control sequences are ours. Whoever makes it escapes the
 * rest.
 *
 * @throws {UblkError} `SYSCALL_FAILED` where nobody reads it.
 */
export async function writeFrame(frame: string): Promise<void> {
  await writeRaw(frame);
}

/** Does as {@linkcode writeFrame} at once, for the end of a process. A terminal may be gone. */
export function writeFrameNow(frame: string): void {
  writeSync(Deno.stdout, frame);
}

let leaveScreen: (() => void) | undefined;

/** Says how to leave the screen that a terminal shows at the moment, if it shows one. */
export function showScreen(leave: (() => void) | undefined): void {
  leaveScreen = leave;
}

/** Gives a terminal back what stood there, before a line that is to stay or the end. */
export function endScreen(): void {
  leaveScreen?.();
}

/** Writes one line to stderr, whether anybody reads it or not. */
export function writeError(line: string): void {
  endScreen();
  writeSync(Deno.stderr, `${printable(line)}\n`);
}

async function writeRaw(text: string): Promise<void> {
  const bytes = new TextEncoder().encode(text);
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

function writeSync(
  stream: { writeSync(bytes: Uint8Array): number },
  text: string,
): void {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += stream.writeSync(bytes.subarray(at));
  } catch {
    // There is no other place to say that this one cannot be written to.
  }
}
