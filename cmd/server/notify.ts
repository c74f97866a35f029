/**
 * Reports the server's state to the service manager by systemd's notification protocol: texts of
 * `NAME=VALUE` lines sent to the socket in `NOTIFY_SOCKET` (sd_notify(3)).
 *
 * @module
 */

import { logLine } from "../../device/log.ts";
import { LOG_WARN } from "../../queue/log_events.ts";
import { UblkError } from "../../uapi/error.ts";
import { printable } from "../../uapi/printable.ts";
import { DatagramSender } from "../../uring/datagram.ts";
import { processEffort } from "./effort.ts";

/** Watchdog messages per timeout of the manager. */
const SIGNS_PER_LIMIT = 4;
/**
 * Interval of progress checks during start and stop, and the extra time requested after progress.
 */
const LOOK_MS = 2_000;
const MORE_MS = 60_000;
/** Retry interval, and the maximum time, for messages that must arrive; in milliseconds. */
const AGAIN_MS = 50;
const TRY_MS = 5_000;

/** The service manager's settings from the environment. */
export interface NotifyWish {
  /** The socket's address. */
  readonly socket: string;
  /** The manager's watchdog timeout in milliseconds; undefined for none. */
  readonly limitMs: number | undefined;
}

/** How a connection measures progress, and how long it waits. */
export interface ManagerTerms {
  /**
   * Returns the work that the process has done so far. It makes progress if this has grown by 1.
   *
   * @default The process's use of the CPU, and the bytes that it has read and written
   */
  readonly effort?: () => number;
  /**
   * Interval of progress checks, in milliseconds.
   *
   * @default 2_000
   */
  readonly lookMs?: number;
  /**
   * Most time for a message that must arrive, in milliseconds.
   *
   * @default 5_000
   */
  readonly tryMs?: number;
}

/**
 * Reads the settings from the environment; undefined if there are none.
 *
 * @param valueOf The value of a variable; undefined if it is not set.
 * @param pid This process's number: the watchdog may be meant for another process.
 */
export function notifyWish(
  valueOf: (name: string) => string | undefined,
  pid: number,
): NotifyWish | undefined {
  const socket = valueOf("NOTIFY_SOCKET");
  if (!socket) return undefined;
  const limitUs = Number(valueOf("WATCHDOG_USEC"));
  const own = (valueOf("WATCHDOG_PID") ?? `${pid}`) === `${pid}`;
  return { socket, limitMs: limitUs > 0 && own ? limitUs / 1000 : undefined };
}

/**
 * The connection to the service manager. A message that cannot be sent only causes a warning in the
 * log.
 */
export class ServiceManager implements Disposable {
  readonly #limitMs: number | undefined;
  readonly #effort: () => number;
  readonly #lookMs: number;
  readonly #tryMs: number;
  #sender?: DatagramSender;
  #timer?: ReturnType<typeof setInterval>;

  /** Creates the connection; nothing is sent yet. */
  constructor({ socket, limitMs }: NotifyWish, terms: ManagerTerms = {}) {
    this.#limitMs = limitMs;
    this.#effort = terms.effort ?? processEffort;
    this.#lookMs = terms.lookMs ?? LOOK_MS;
    this.#tryMs = terms.tryMs ?? TRY_MS;
    this.#try(() => this.#sender = new DatagramSender(socket));
  }

  /**
   * Reports that the start has begun. The manager is asked for more time as long as the process
   * makes progress: a backend may take long to open, and was once killed for it after
   * `TimeoutStartSec=`. A start that hangs still ends there.
   */
  starting(): void {
    this.#askForTime();
  }

  /**
   * Reports that the disk is ready.
   *
   * @param status One line for people. A line break in it would start another variable.
   * @param alive Whether the server has made progress since the last call. Without progress, no
   *   watchdog message is sent.
   */
  async ready(status: string, alive: () => boolean): Promise<void> {
    clearInterval(this.#timer);
    await this.#tell(`READY=1\nMAINPID=${Deno.pid}\nSTATUS=${printable(status)}`);
    if (this.#limitMs === undefined) return;
    this.#timer = setInterval(() => {
      // A lost message does not matter; another follows.
      if (alive()) this.#send("WATCHDOG=1");
    }, this.#limitMs / SIGNS_PER_LIMIT);
  }

  /**
   * Reports that the server is stopping. As during the start, the manager is asked for more time:
   * dirty data is written first, which may take longer than `TimeoutStopSec=`, and a kill would
   * lose the rest of it.
   */
  async stopping(status: string): Promise<void> {
    clearInterval(this.#timer);
    this.#askForTime();
    await this.#tell(`STOPPING=1\nSTATUS=${printable(status)}`);
  }

  #askForTime(): void {
    let asked = this.#effort();
    this.#timer = setInterval(() => {
      const done = this.#effort();
      if (done - asked < 1) return;
      asked = done;
      this.#send(`EXTEND_TIMEOUT_USEC=${MORE_MS * 1000}`);
    }, this.#lookMs);
  }

  /** Stops all timers. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#sender?.[Symbol.dispose]();
    this.#sender = undefined;
  }

  /** Retries for a while if the manager does not read: it may be busy starting other services. */
  async #tell(text: string): Promise<void> {
    const endMs = performance.now() + this.#tryMs;
    while (!this.#send(text) && performance.now() < endMs) {
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  /** Sends a text. Returns false if a retry may help. */
  #send(text: string): boolean {
    return this.#try(() => this.#sender?.send(text)) !== false;
  }

  #try<T>(step: () => T): T | undefined {
    try {
      return step();
    } catch (error) {
      if (!(error instanceof UblkError)) throw error;
      logLine(LOG_WARN, `the service manager cannot be told: ${error.message}`);
      return undefined;
    }
  }
}
