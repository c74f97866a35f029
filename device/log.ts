/**
 * Drains the serving threads' log rings into `@std/log`. Only this file and `cmd/server/log.ts`
 * import `@std/log`.
 *
 * @module
 */

import { getLogger } from "@std/log";
import { printable } from "../uapi/printable.ts";
import { createLogBuffer, LogReader } from "../queue/log_ring.ts";

/** The name of this project's logger in `@std/log`. It is silent until a program sets it up. */
export const LOGGER = "ublk";

/** Pause after draining a ring, in milliseconds. Bounds how often a flood wakes this thread. */
const DRAIN_MS = 50;
/** Records per drain, so that a flood does not starve the event loop. */
const RECORDS_PER_DRAIN = 2000;

/** The log rings of one device's threads. Each is drained when something has been written. */
export class ThreadLogs implements Disposable {
  readonly #level: number;
  readonly #prefix: string;
  readonly #readers: LogReader[] = [];
  #reported = 0;
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #disposed = false;

  /** @param level The lowest level that threads record, as in `@std/log`. 5 traces each request. */
  constructor(level: number, prefix: string) {
    this.#level = level;
    this.#prefix = prefix;
  }

  /** Adds a ring for one more thread. */
  add(): SharedArrayBuffer {
    const buffer = createLogBuffer(1024, { level: this.#level });
    const reader = new LogReader(buffer);
    this.#readers.push(reader);
    void this.#follow(reader);
    return buffer;
  }

  async #follow(reader: LogReader): Promise<void> {
    await reader.arrival();
    if (this.#disposed) return;
    this.drain();
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      void this.#follow(reader);
    }, DRAIN_MS);
    this.#timers.add(timer);
  }

  /** Records dropped because nobody drained them in time. */
  get dropped(): number {
    return this.#readers.reduce((sum, reader) => sum + reader.dropped, 0);
  }

  /** Drains the rings into the logger. */
  drain(): void {
    const logger = getLogger(LOGGER);
    for (const reader of this.#readers) {
      reader.drain(
        // @std/log has no level below DEBUG: the trace of requests goes there.
        ({ level, message }) => emit(logger, level, `${this.#prefix}${message}`),
        RECORDS_PER_DRAIN,
      );
    }
    const dropped = this.dropped;
    if (dropped > this.#reported) {
      logger.warn(
        `${this.#prefix}${dropped - this.#reported} log records dropped: too many to drain`,
      );
      this.#reported = dropped;
    }
  }

  /** Drains the rest and stops. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const timer of this.#timers) clearTimeout(timer);
    for (const reader of this.#readers) reader.interrupt();
    this.drain();
  }
}

/**
 * Logs one line at a level of `@std/log`. Levels below DEBUG become DEBUG. The line is escaped,
 * because messages of backends and file names are part of it and any handler may print it.
 */
function emit(logger: ReturnType<typeof getLogger>, level: number, message: string): void {
  const line = printable(message);
  if (level >= 40) logger.error(line);
  else if (level >= 30) logger.warn(line);
  else if (level >= 20) logger.info(line);
  else logger.debug(line);
}

/** Logs a line about the device. */
export function logLine(level: number, message: string): void {
  emit(getLogger(LOGGER), level, message);
}
