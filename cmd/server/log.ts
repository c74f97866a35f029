/**
 * The log of a command, on stderr. Beside `device/log.ts` the only file that imports `@std/log`.
 *
 * Writing never waits. Whoever reads stderr may himself be waiting for the disk that this process
 * serves (a log file on that very disk, a terminal that was stopped), and a process that waits for
 * him in turn hears no signal any more. So lines are handed to the system one write at a time, in
 * the background, and what does not fit meanwhile is dropped and counted.
 *
 * @module
 */

import { BaseHandler, getLogger, type LevelName, type LogRecord, setup } from "@std/log";
import { takeConsoles } from "../../device/consoles.ts";
import { LOGGER, logLine } from "../../device/log.ts";
import { LOG_ERROR, LOG_INFO, LOG_WARN } from "../../queue/log_events.ts";
import { printable } from "../../uapi/printable.ts";
import { writesToJournal } from "./journal.ts";
import { type ByteSink, STDERR } from "../program/print.ts";

/** How much may wait for a reader, in characters. */
const MAX_PENDING = 1 << 20;

const LEVEL_WORDS: Readonly<Record<string, string>> = {
  DEBUG: "debug: ",
  INFO: "",
  WARN: "warning: ",
  ERROR: "error: ",
  CRITICAL: "error: ",
};

/** How a log is written. */
export interface LogStyle {
  /** Where to. Default: stderr. */
  readonly sink?: ByteSink;
  /** Whether records begin with the time. Default: unless the journal, which has it, reads them. */
  readonly times?: boolean;
  /** Whether even the reason for which a command fails at its start is part of a log. */
  readonly inBackground?: boolean;
}

/** Lines on their way to stderr. */
export class StderrLog extends BaseHandler {
  /** Whether a device is made or served, so that the process goes on whatever nobody catches. */
  serves = false;
  readonly #program: string;
  readonly #sink: ByteSink;
  readonly #times: boolean;
  readonly #encoder = new TextEncoder();
  #pending: string[] = [];
  #pendingLength = 0;
  #dropped = 0;
  #writing?: Promise<void>;
  #lastError = "";
  /** Told of the bytes that were written. */
  onWritten: (bytes: number) => void = () => {};
  #hasServed: boolean;
  /** A line was cut by a disk that is full. */
  #torn = false;
  /** No write begins. */
  #isHeld = false;

  /** Each line begins with the time and the program's name. */
  constructor(program: string, style: LogStyle = {}) {
    super("DEBUG", { formatter: (record: LogRecord) => lineOf(record) });
    this.#program = program;
    this.#sink = style.sink ?? STDERR;
    this.#times = style.times ?? !writesToJournal();
    this.#hasServed = style.inBackground ?? false;
  }

  /** Says that there is a device: what is told from now on is a log, to its end. */
  started(): void {
    this.#hasServed = true;
  }

  /** Takes a formatted record. */
  override log(text: string): void {
    this.#add(text, this.#times);
  }

  /** Says why the program fails; what the log has said already is not said again. */
  error(message: string): void {
    const text = `error: ${printable(message)}`;
    if (text !== this.#lastError) this.#add(text, this.#times && this.#hasServed);
  }

  /** Shows where the mistake is for which the program fails. A log has lines of its own alone. */
  detail(line: string): void {
    if (!this.#hasServed) this.#queue(`${printable(line)}\n`);
  }

  /** Formats a record, and remembers the last error among them. */
  override format(record: LogRecord): string {
    const text = super.format(record);
    if (text.startsWith("error: ")) this.#lastError = text;
    return text;
  }

  /** Resolves once everything is written, or the time is up. */
  async flush(limitMs = 500): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const limit = new Promise<void>((resolve) => timer = setTimeout(resolve, limitMs));
    await Promise.race([this.#writing, limit]);
    clearTimeout(timer);
  }

  /**
   * Runs something while no write is under way; what is logged meanwhile is written after it. It waits
   * as long as {@linkcode flush} for a write that gets nowhere.
   */
  async betweenWrites<T>(run: () => T): Promise<T> {
    this.#isHeld = true;
    try {
      await this.flush();
      return run();
    } finally {
      this.#isHeld = false;
      if (this.#pending.length > 0) this.#writing ??= this.#drain();
    }
  }

  #add(text: string, withTime: boolean): void {
    this.#queue(`${withTime ? timeStamp() : ""}${this.#program}: ${printable(text)}\n`);
  }

  #queue(line: string): void {
    if (this.#pendingLength + line.length > MAX_PENDING) {
      this.#dropped++;
      return;
    }
    this.#pending.push(line);
    this.#pendingLength += line.length;
    if (!this.#isHeld) this.#writing ??= this.#drain();
  }

  async #drain(): Promise<void> {
    while (this.#pending.length > 0) {
      const lines = this.#pending;
      const dropped = this.#dropped;
      this.#pending = [];
      this.#pendingLength = 0;
      this.#dropped = 0;
      try {
        await this.#write(dropped === 0 ? lines : [...lines, this.#loss(dropped)]);
      } catch (error) {
        if (error instanceof Deno.errors.BrokenPipe) {
          // Nobody reads stderr any more. The disk is worth more than its log, so it is served on,
          // and since #writing stays set nothing is written again.
          this.#pending = [];
          return;
        }
        // A full disk may have room again for the next record: once, the log stayed silent for good.
        this.#dropped += dropped + lines.length;
        break;
      }
    }
    this.#writing = undefined;
  }

  #loss(lines: number): string {
    const time = this.#times ? timeStamp() : "";
    return `${time}${this.#program}: warning: ${lines} lines of log dropped\n`;
  }

  async #write(lines: readonly string[]): Promise<void> {
    const bytes = this.#encoder.encode((this.#torn ? "\n" : "") + lines.join(""));
    let at = 0;
    try {
      while (at < bytes.length) at += await this.#sink.write(bytes.subarray(at));
      this.#torn = false;
      this.onWritten(bytes.length);
    } catch (error) {
      if (at > 0) this.#torn = bytes[at - 1] !== "\n".charCodeAt(0);
      throw error;
    }
  }
}

/** In UTC, so that logs of several machines, and of a night when the clocks change, sort. */
function timeStamp(): string {
  return `${new Date().toISOString()} `;
}

function lineOf({ levelName, msg }: LogRecord): string {
  return (LEVEL_WORDS[levelName] ?? "") + msg;
}

/** Sends this project's log, and what modules print, to stderr, from INFO on. */
export function logToStderr(program: string, style?: LogStyle): StderrLog {
  const stderr = new StderrLog(program, style);
  setup({
    handlers: { stderr },
    loggers: { [LOGGER]: { level: "INFO", handlers: ["stderr"] } },
  });
  takeConsoles(logLine);
  return stderr;
}

/**
 * Sets from which level on the log is written: the same number from which on serving threads record
 * it, so that `-vv` is `-vv` in both.
 */
export function setLogLevel(level: number): void {
  const name: LevelName = level >= LOG_ERROR
    ? "ERROR"
    : level >= LOG_WARN
    ? "WARN"
    : level >= LOG_INFO
    ? "INFO"
    : "DEBUG";
  getLogger(LOGGER).levelName = name;
}
