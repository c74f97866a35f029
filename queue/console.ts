/**
 * Redirection of a thread's console to the log. Otherwise a module's `console.log` would go raw to
 * stdout, where a command prints only the disk's path, and would block on a slow reader.
 *
 * @module
 */

import { thrownText } from "../uapi/error.ts";
import { LOG_DEBUG, LOG_ERROR, LOG_INFO, LOG_WARN } from "./log_events.ts";
import { LOG_TEXT_BYTES, type LogWriter } from "./log_ring.ts";

/** Receives one line of console output. */
export type ConsoleSink = (level: number, line: string) => void;

const LEVELS: Readonly<Record<string, number>> = {
  log: LOG_INFO,
  info: LOG_INFO,
  dir: LOG_INFO,
  table: LOG_INFO,
  group: LOG_INFO,
  debug: LOG_DEBUG,
  warn: LOG_WARN,
  error: LOG_ERROR,
  trace: LOG_ERROR,
};

/** A level prefix of the log. A console line that begins with one gets `console:` in front. */
const LEVEL_WORD = /^\s*(debug|warning|error): /;

/** Sends all console output of this thread to a sink, line by line, and nowhere else. */
export function redirectConsole(sink: ConsoleSink): void {
  const methods = console as unknown as Record<string, unknown>;
  const say = (level: number, values: readonly unknown[]) => {
    for (const line of values.map(shown).join(" ").split("\n")) {
      sink(level, LEVEL_WORD.test(line) ? `console: ${line}` : line);
    }
  };
  for (const name of Object.keys(methods)) {
    if (typeof methods[name] !== "function") continue;
    const level = LEVELS[name];
    // Counters, timers and the like only make sense on a terminal.
    methods[name] = level === undefined ? () => {} : (...values: unknown[]) => say(level, values);
  }
  methods.assert = (condition: unknown, ...values: unknown[]) => {
    if (!condition) say(LOG_ERROR, ["assertion failed:", ...values]);
  };
}

/** Makes a sink that writes to a log ring. A line too long for one record continues in the next. */
export function logSink(log: LogWriter): ConsoleSink {
  const encoder = new TextEncoder();
  const room = new Uint8Array(LOG_TEXT_BYTES);
  return (level, line) => {
    let rest = line;
    do {
      const { read } = encoder.encodeInto(rest, room);
      log.text(level, rest.slice(0, read));
      rest = rest.slice(read);
    } while (rest !== "");
  };
}

function shown(value: unknown): string {
  if (typeof value === "string") return value;
  try {
    return Deno.inspect(value);
  } catch (error) {
    // An object's custom inspect method may throw.
    return thrownText(error);
  }
}
