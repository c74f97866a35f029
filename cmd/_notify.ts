/**
 * Tells the service manager how a server is getting on: systemd's notification protocol, texts of
 * `NAME=VALUE` lines to the socket that `NOTIFY_SOCKET` names (sd_notify(3)).
 *
 * @module
 */

import { logLine } from "../device/log.ts";
import { LOG_WARN } from "../queue/log_events.ts";
import { UblkError } from "../uapi/error.ts";
import { printable } from "../uapi/printable.ts";
import { DatagramSender } from "../uring/datagram.ts";

/** Signs of life within the time after which the manager loses patience. */
const SIGNS_PER_LIMIT = 4;
/** How often, and for how long at most, what must not be lost is tried; in milliseconds. */
const AGAIN_MS = 50;
const TRY_MS = 5_000;

/** What the environment asks for. */
export interface NotifyWish {
  /** Where to send. */
  readonly socket: string;
  /** How soon, in milliseconds, the manager wants the next sign of life; undefined: never. */
  readonly limitMs: number | undefined;
}

/**
 * Reads the wish off an environment, as `/proc/PID/environ` has it; undefined if there is none.
 *
 * @param pid The process's own number: the sign of life may be another one's to give.
 */
export function notifyWish(environment: string, pid: number): NotifyWish | undefined {
  const variables = new Map(
    environment.split("\0").map((line) => {
      const at = line.indexOf("=");
      return [line.slice(0, at), line.slice(at + 1)];
    }),
  );
  const socket = variables.get("NOTIFY_SOCKET");
  if (!socket) return undefined;
  const limitUs = Number(variables.get("WATCHDOG_USEC"));
  const own = (variables.get("WATCHDOG_PID") ?? `${pid}`) === `${pid}`;
  return { socket, limitMs: limitUs > 0 && own ? limitUs / 1000 : undefined };
}

/** The way to the service manager. What cannot be told is a warning in the log, and no more. */
export class ServiceManager implements Disposable {
  readonly #limitMs: number | undefined;
  #sender?: DatagramSender;
  #timer?: ReturnType<typeof setInterval>;

  /** Nothing is told yet. */
  constructor({ socket, limitMs }: NotifyWish) {
    this.#limitMs = limitMs;
    this.#try(() => this.#sender = new DatagramSender(socket));
  }

  /**
   * The disk is there.
   *
   * @param status One line for people. A line break in it would be a variable of its own.
   * @param alive Whether the server has got on since it was last asked. While it has not, no sign of
   *   life is given.
   */
  async ready(status: string, alive: () => boolean): Promise<void> {
    await this.#tell(`READY=1\nMAINPID=${Deno.pid}\nSTATUS=${printable(status)}`);
    if (this.#limitMs === undefined) return;
    this.#timer = setInterval(() => {
      // One that is lost is followed by another.
      if (alive()) this.#send("WATCHDOG=1");
    }, this.#limitMs / SIGNS_PER_LIMIT);
  }

  /** It is about to go. */
  async stopping(status: string): Promise<void> {
    clearInterval(this.#timer);
    await this.#tell(`STOPPING=1\nSTATUS=${printable(status)}`);
  }

  /** Ends it. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#sender?.[Symbol.dispose]();
    this.#sender = undefined;
  }

  /** Tries on for a while where the manager does not read: it may be starting much else. */
  async #tell(text: string): Promise<void> {
    const endMs = performance.now() + TRY_MS;
    while (!this.#send(text) && performance.now() < endMs) {
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  /** Whether there is nothing more to be done about it. */
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
