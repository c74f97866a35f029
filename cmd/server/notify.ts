/**
 * Tells the service manager how a server is getting on: systemd's notification protocol, texts of
 * `NAME=VALUE` lines to the socket that `NOTIFY_SOCKET` names (sd_notify(3)).
 *
 * @module
 */

import { logLine } from "../../device/log.ts";
import { LOG_WARN } from "../../queue/log_events.ts";
import { UblkError } from "../../uapi/error.ts";
import { printable } from "../../uapi/printable.ts";
import { DatagramSender } from "../../uring/datagram.ts";
import { processEffort } from "./effort.ts";

/** Signs of life within the time after which the manager loses patience. */
const SIGNS_PER_LIMIT = 4;
/** How often a start or a stop is looked at, and how much time is asked for if it got on. */
const LOOK_MS = 2_000;
const MORE_MS = 60_000;
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
  readonly #effort: () => number;
  readonly #lookMs: number;
  #sender?: DatagramSender;
  #timer?: ReturnType<typeof setInterval>;

  /**
   * Nothing is told yet.
   *
   * @param effort How much the process has done so far; it gets on where this has grown by 1.
   * @param lookMs How often to look at it, in milliseconds.
   */
  constructor({ socket, limitMs }: NotifyWish, effort = processEffort, lookMs: number = LOOK_MS) {
    this.#limitMs = limitMs;
    this.#effort = effort;
    this.#lookMs = lookMs;
    this.#try(() => this.#sender = new DatagramSender(socket));
  }

  /**
   * The start has begun. From now on the manager is asked for more time as long as the process gets
   * on: a backend may take long to open, and was killed for it after `TimeoutStartSec=`. A start
   * that hangs still ends there.
   */
  starting(): void {
    this.#askForTime();
  }

  /**
   * The disk is there.
   *
   * @param status One line for people. A line break in it would be a variable of its own.
   * @param alive Whether the server has got on since it was last asked. While it has not, no sign of
   *   life is given.
   */
  async ready(status: string, alive: () => boolean): Promise<void> {
    clearInterval(this.#timer);
    await this.#tell(`READY=1\nMAINPID=${Deno.pid}\nSTATUS=${printable(status)}`);
    if (this.#limitMs === undefined) return;
    this.#timer = setInterval(() => {
      // One that is lost is followed by another.
      if (alive()) this.#send("WATCHDOG=1");
    }, this.#limitMs / SIGNS_PER_LIMIT);
  }

  /**
   * It is about to go. As at the start the manager is asked for more time: what is dirty is written
   * first, which may take longer than `TimeoutStopSec=`, and a kill would lose the rest of it.
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
