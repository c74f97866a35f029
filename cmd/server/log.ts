/**
 * The log of a command, on stderr. Only this file and `device/log.ts` import `@std/log`.
 *
 * Writing never waits. The reader of stderr may itself be waiting for the disk that this process
 * serves (a log file on that disk, a stopped terminal), and a process that waits for its reader
 * handles no signals. So lines are written one at a time in the background. Lines that exceed the
 * queue are dropped and counted.
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

/** Maximum of queued text, in characters. */
const MAX_PENDING = 1 << 20;

const LEVEL_WORDS: Readonly<Record<string, string>> = {
  DEBUG: "debug: ",
  INFO: "",
  WARN: "warning: ",
  ERROR: "error: ",
  CRITICAL: "error: ",
};

/** The style of a log. */
export interface LogStyle {
  /**
   * The destination.
   *
   * @default stderr
   */
  readonly sink?: ByteSink;
  /**
   * Whether records start with the time.
   *
   * @default true, unless the journal reads them, which adds the time itself
   */
  readonly times?: boolean;
  /** Whether the reason for a failed start is written as a log record too. */
  readonly inBackground?: boolean;
}

/** A queue of lines for stderr. */
export class StderrLog extends BaseHandler {
  /** Whether a device is being made or served. The process then survives uncaught errors. */
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
  /** Called with the number of bytes written. */
  onWritten: (bytes: number) => void = () => {};
  #hasServed: boolean;
  /** A full disk has cut a line. */
  #torn = false;
  /** Writes are held back. */
  #isHeld = false;

  /** Creates a log. Each line starts with the time and the program's name. */
  constructor(program: string, style: LogStyle = {}) {
    super("DEBUG", { formatter: (record: LogRecord) => lineOf(record) });
    this.#program = program;
    this.#sink = style.sink ?? STDERR;
    this.#times = style.times ?? !writesToJournal();
    this.#hasServed = style.inBackground ?? false;
  }

  /** Marks the device as started: from now on everything is a log record. */
  started(): void {
    this.#hasServed = true;
  }

  /** Queues a formatted record. */
  override log(text: string): void {
    this.#add(text, this.#times);
  }

  /** Reports why the program fails, unless the log already contains that. */
  error(message: string): void {
    const text = `error: ${printable(message)}`;
    if (text !== this.#lastError) this.#add(text, this.#times && this.#hasServed);
  }

  /** Shows the place of the mistake that makes the program fail. Not part of a log. */
  detail(line: string): void {
    if (!this.#hasServed) this.#queue(`${printable(line)}\n`);
  }

  /** Formats a record, and remembers the last error. */
  override format(record: LogRecord): string {
    const text = super.format(record);
    if (text.startsWith("error: ")) this.#lastError = text;
    return text;
  }

  /** Resolves once everything is written or the time is up. */
  async flush(limitMs = 500): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const limit = new Promise<void>((resolve) => timer = setTimeout(resolve, limitMs));
    await Promise.race([this.#writing, limit]);
    clearTimeout(timer);
  }

  /**
   * Runs a function while no write is in progress; records logged meanwhile are written afterwards.
   * Waits as long as {@linkcode flush} for a write that makes no progress.
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
          // Nobody reads stderr any more. The disk is worth more than its log, so serving
          // continues. #writing stays set, so nothing is written again.
          this.#pending = [];
          return;
        }
        // A full disk may have room for the next record. Once, the log stayed silent for good.
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

/**
 * The time in UTC, so that logs of several machines sort, also across a change of daylight saving
 * time.
 */
function timeStamp(): string {
  return `${new Date().toISOString()} `;
}

function lineOf({ levelName, msg }: LogRecord): string {
  return (LEVEL_WORDS[levelName] ?? "") + msg;
}

/** Sends this project's log, and the output of modules, to stderr, from level INFO. */
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
 * Sets the lowest level that is written. Serving threads use the same numbers, so `-vv` means the
 * same in both.
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
