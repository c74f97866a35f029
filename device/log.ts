/**
 * From the serving threads' log rings into `@std/log`: beside `cmd/server/log.ts` the only file that
 * imports it.
 *
 * @module
 */

import { getLogger } from "@std/log";
import { printable } from "../uapi/printable.ts";
import { createLogBuffer, LogReader } from "../queue/log_ring.ts";

/** The name of this project's logger in `@std/log`. A program sets it up; by itself it is silent. */
export const LOGGER = "ublk";

/** How long a ring is left alone once it was emptied: a flood wakes this thread no more often. */
const DRAIN_MS = 50;
/** Records per turn, so that a flood of them leaves the event loop alive. */
const RECORDS_PER_DRAIN = 2000;

/** The log rings of one device's threads. Each is emptied when something has been written. */
export class ThreadLogs implements Disposable {
  readonly #level: number;
  readonly #prefix: string;
  readonly #readers: LogReader[] = [];
  #reported = 0;
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #disposed = false;

  /** @param level The lowest level that threads record, as in `@std/log`; 5 traces each request. */
  constructor(level: number, prefix: string) {
    this.#level = level;
    this.#prefix = prefix;
  }

  /** A ring for one more thread. */
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

  /** Records that were dropped because nobody drained them in time. */
  get dropped(): number {
    return this.#readers.reduce((sum, reader) => sum + reader.dropped, 0);
  }

  /** Empties the rings into the logger. */
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

  /** Drains what is left and stops. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const timer of this.#timers) clearTimeout(timer);
    for (const reader of this.#readers) reader.interrupt();
    this.drain();
  }
}

/**
 * Logs one line at a level of `@std/log`; what is below DEBUG counts as DEBUG. It stays one line for
 * whatever handler a program has: messages of backends and names of files are in it.
 */
function emit(logger: ReturnType<typeof getLogger>, level: number, message: string): void {
  const line = printable(message);
  if (level >= 40) logger.error(line);
  else if (level >= 30) logger.warn(line);
  else if (level >= 20) logger.info(line);
  else logger.debug(line);
}

/** Logs a line of the device's own. */
export function logLine(level: number, message: string): void {
  emit(getLogger(LOGGER), level, message);
}
