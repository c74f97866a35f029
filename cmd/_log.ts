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

import { BaseHandler, type LogRecord, setup } from "@std/log";
import { LOGGER } from "../device/log.ts";

/** How much may wait for a reader, in characters. */
const MAX_PENDING = 1 << 20;

const LEVEL_WORDS: Readonly<Record<string, string>> = {
  DEBUG: "debug: ",
  INFO: "",
  WARN: "warning: ",
  ERROR: "error: ",
  CRITICAL: "error: ",
};

/** Where a log's bytes go: `Deno.stderr`, or a test's. */
export interface LogSink {
  /** Takes some of the bytes and says how many. */
  write(bytes: Uint8Array): Promise<number>;
}

/** Lines on their way to stderr. */
export class StderrLog extends BaseHandler {
  readonly #program: string;
  readonly #sink: LogSink;
  readonly #encoder = new TextEncoder();
  #pending: string[] = [];
  #pendingLength = 0;
  #dropped = 0;
  #writing?: Promise<void>;
  #lastError = "";
  /** Told of the bytes that were written. */
  onWritten: (bytes: number) => void = () => {};

  /** Each line begins with the program's name, as is the custom. */
  constructor(program: string, sink: LogSink = Deno.stderr) {
    super("DEBUG", { formatter: (record: LogRecord) => lineOf(record) });
    this.#program = program;
    this.#sink = sink;
  }

  /** Takes a formatted record. */
  override log(text: string): void {
    const line = `${this.#program}: ${text.replaceAll(/\s*\n\s*/g, " ")}\n`;
    if (this.#pendingLength + line.length > MAX_PENDING) {
      this.#dropped++;
      return;
    }
    this.#pending.push(line);
    this.#pendingLength += line.length;
    this.#writing ??= this.#drain();
  }

  /** Says why the program fails; what the log has said already is not said again. */
  error(message: string): void {
    const text = `error: ${message}`;
    if (text !== this.#lastError) this.log(text);
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

  async #drain(): Promise<void> {
    try {
      while (this.#pending.length > 0) {
        if (this.#dropped > 0) {
          this.#pending.push(`${this.#program}: warning: ${this.#dropped} lines of log dropped\n`);
          this.#dropped = 0;
        }
        const bytes = this.#encoder.encode(this.#pending.join(""));
        this.#pending = [];
        this.#pendingLength = 0;
        for (let at = 0; at < bytes.length;) at += await this.#sink.write(bytes.subarray(at));
        this.onWritten(bytes.length);
      }
      this.#writing = undefined;
    } catch {
      // Nobody reads stderr any more (EPIPE). The disk is worth more than its log, so it is served
      // on, and since #writing stays set nothing is written again.
      this.#pending = [];
    }
  }
}

function lineOf({ levelName, msg }: LogRecord): string {
  return (LEVEL_WORDS[levelName] ?? "") + msg;
}

/** Sends this project's log to stderr, from INFO on, or from DEBUG on. */
export function logToStderr(program: string, debug: boolean): StderrLog {
  const stderr = new StderrLog(program);
  setup({
    handlers: { stderr },
    loggers: { [LOGGER]: { level: debug ? "DEBUG" : "INFO", handlers: ["stderr"] } },
  });
  return stderr;
}
