/**
 * The console of a thread as part of the log. A module's `console.log` would otherwise go to stdout,
 * where a command prints nothing but the disk's path, raw, and with a wait for whoever reads it.
 *
 * @module
 */

import { thrownText } from "../uapi/error.ts";
import { LOG_DEBUG, LOG_ERROR, LOG_INFO, LOG_WARN } from "./log_events.ts";
import { LOG_TEXT_BYTES, type LogWriter } from "./log_ring.ts";

/** Takes one line of what was said. */
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

/** What the log itself puts before a line: here it is another's word. */
const LEVEL_WORD = /^\s*(debug|warning|error): /;

/** Sends what this thread's console is told to a sink, line by line, and nowhere else. */
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
    // Counters, timers and the like are for a terminal.
    methods[name] = level === undefined ? () => {} : (...values: unknown[]) => say(level, values);
  }
  methods.assert = (condition: unknown, ...values: unknown[]) => {
    if (!condition) say(LOG_ERROR, ["assertion failed:", ...values]);
  };
}

/** A sink into a thread's log ring. A line that is too long for a record goes on in the next. */
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
    // An object may have a way of its own to be shown, which throws.
    return thrownText(error);
  }
}
