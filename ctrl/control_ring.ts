/**
 * The asynchronous ring under the control commands: each one is a Promise of its result, bounded
 * in time, and the event loop is never blocked.
 *
 * It must not be, because the thread that controls a device may also be the one that answers its
 * I/O, and `START_DEV` does not complete before I/O is answered.
 *
 * A completion signals an eventfd, which is waited for until the next deadline at most; and only
 * while commands are outstanding, so that an idle control ring keeps no process alive. What the
 * kernel may still write to stays in the in-flight table until the completion arrives, whatever
 * became of the Promise.
 *
 * @module
 */

import { assert, UblkError } from "../uapi/error.ts";
import { encode, type Input } from "../uapi/struct.ts";
import { IORING_SETUP_SUBMIT_ALL } from "../uapi/io_uring.ts";
import { ublksrv_ctrl_cmd } from "../uapi/ublk_cmd.ts";
import { addressOf, closeFd, eventFd } from "../uring/libc.ts";
import { openRing, type RingOptions } from "../uring/open_ring.ts";
import { PolledFd } from "../uring/poller.ts";
import { registerEventFd } from "../uring/register.ts";
import type { Ring } from "../uring/ring.ts";
import { prepCancel, prepUringCmd } from "../uring/sqe.ts";
import type { Command } from "./commands.ts";
import { abortedError, timeoutError } from "./errors.ts";
import { pacedMs } from "./pace.ts";

/** Room in the ring: control commands are few, and each occupies one entry for a moment. */
const RING_ENTRIES = 64;

/**
 * How the ring is set up: without DEFER_TASKRUN, so that completions are posted whether or not
 * this thread enters the kernel. With it one `io_uring_enter` runs some twenty of the waiting
 * completions, and the eventfd stays silent until all of them have run: more wait than that, and
 * nobody wakes for the rest. Nothing here is worth that subtlety.
 */
export const RING_OPTIONS: RingOptions = {
  entries: RING_ENTRIES,
  sqe128: true,
  setupFlags: IORING_SETUP_SUBMIT_ALL,
};

/** How long a cancelled command is still waited for, before nobody waits any more. */
const GRACE_MS = 1000;

/** Where the command's own words start in an SQE: `sqe.cmd`, byte 48. */
const SQE_CMD_WORD = 12;

// Kinds of user data, to tell a command's completion from that of an attempt to cancel it.
const KIND_COMMAND = 1;
const KIND_CANCEL = 2;

/** How long a command may take, and who may give it up sooner. */
export interface CommandOptions {
  /**
   * In milliseconds; without it, the command's own default, once for each device of this thread
   * that is at a step.
   */
  timeoutMs?: number;
  /** Whether a time that is named here, too, counts once for each of those devices. */
  paced?: boolean;
  /**
   * A number that changes while the device gets on, by requests that it answers: then the time
   * begins anew.
   */
  progress?: () => number;
  /**
   * Gives the command up, with `ABORTED`: at once, or for START_DEV and END_USER_RECOVERY as soon as
   * the kernel has answered. An answer that came too late to be given up is returned as ever.
   */
  signal?: AbortSignal;
}

/** One command to send. */
export interface ControlRequest {
  /** Which. */
  readonly command: Command;
  /** Its fields; `addr` and `len` come from {@linkcode buffer}. */
  readonly values: Input<ublksrv_ctrl_cmd>;
  /** What the kernel reads and writes. It must not be used again before the result. */
  readonly buffer?: Uint8Array<ArrayBuffer>;
  /** The device to name in errors. */
  readonly device?: number;
  /** The queue to name in errors. */
  readonly queue?: number;
}

/** A command that the kernel has and has not answered. */
interface InFlight {
  readonly id: number;
  readonly request: ControlRequest;
  readonly resolve: (res: number) => void;
  readonly reject: (reason: unknown) => void;
  readonly signal: AbortSignal | undefined;
  readonly onAbort: () => void;
  /** Undefined where the command's default holds. */
  readonly timeoutMs: number | undefined;
  readonly paced: boolean;
  readonly progress: () => number;
  /** The progress when the time began, and when that was, by `performance.now()`. */
  seen: number;
  sinceMs: number;
  /** When something is to be done about it if nothing has happened, by `performance.now()`. */
  deadline: number;
  /**
   * `live`: somebody awaits it. `abandoned`: the Promise is rejected and the kernel was asked to
   * cancel; the completion is still waited for. `forgotten`: it is not, but the buffer is kept.
   */
  state: "live" | "abandoned" | "forgotten";
}

/**
 * Commands whose ring is closed and which the kernel never answered. A command that it did not
 * cancel may still write to its buffer, so the buffer is never freed: a leak of some bytes
 * against memory corruption.
 */
const orphans = new Set<InFlight>();

/** The ring under the control commands. It belongs to the thread that made it. */
export class ControlRing implements AsyncDisposable, Disposable {
  readonly #fd: number;
  readonly #ring: Ring;
  readonly #eventFd: number;
  /** The eventfd, once something was not answered at once. */
  #answers?: PolledFd;
  readonly #inFlight = new Map<number, InFlight>();
  #lastId = 0;
  #pump: Promise<void> | undefined;
  /** When the pump looks again at the latest, by `performance.now()`. */
  #pumpUntil = Infinity;
  #closing = false;
  #closed = false;
  /** Why the ring itself failed, after which nothing can be sent. */
  #broken: unknown;

  /** Takes over the descriptor of `/dev/ublk-control`, and the ring where one is given. */
  constructor(fd: number, ring?: Ring) {
    this.#fd = fd;
    let eventfd = -1;
    try {
      ring ??= openRing(RING_OPTIONS).ring;
      assert(ring.sqeWords === 32, "a control ring has 128-byte SQEs");
      eventfd = eventFd();
      registerEventFd(ring, eventfd);
    } catch (error) {
      if (eventfd >= 0) closeFd(eventfd);
      ring?.[Symbol.dispose]();
      closeFd(fd);
      throw error;
    }
    this.#ring = ring;
    this.#eventFd = eventfd;
  }

  /** Commands that the kernel has not answered, given up or not. */
  get outstanding(): number {
    return this.#inFlight.size;
  }

  /**
   * Sends a command.
   *
   * @returns The completion's result: a negative errno is a result like any other.
   * @throws {UblkError} `CONTROL_TIMEOUT`, or `ABORTED` by the signal or on a closed ring.
   */
  submit(request: ControlRequest, options: CommandOptions = {}): Promise<number> {
    const { signal, timeoutMs, progress = () => 0 } = options;
    const { paced = timeoutMs === undefined } = options;
    if (this.#closing) return Promise.reject(closedError(request));
    if (this.#broken !== undefined) return Promise.reject(this.#broken);
    if (signal?.aborted) return Promise.reject(abortedError(request, signal.reason));
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const id = this.#freeId();
    if (!this.#prepare(request, id)) return Promise.reject(fullError(request));
    const onAbort = () => {
      if (request.command.untilAnswered) this.#cancel(entry);
      else this.#giveUp(entry, abortedError(request, signal?.reason));
    };
    const sinceMs = performance.now();
    const entry: InFlight = {
      ...{ id, request, resolve, reject, signal, onAbort, timeoutMs, paced, progress, sinceMs },
      seen: progress(),
      deadline: sinceMs + (timeoutMs ?? request.command.timeoutMs),
      state: "live",
    };
    this.#inFlight.set(id, entry);
    signal?.addEventListener("abort", onAbort, { once: true });
    // Some commands are answered at once, within this call.
    this.#collect();
    this.#arm(entry.deadline);
    return promise;
  }

  /**
   * Gives up what is outstanding, waits a moment for the kernel to let go of it, and closes. It
   * never takes longer than that moment.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    if (!this.#closed) {
      this.#giveUpAll();
      await this.#pump;
    }
    this[Symbol.dispose]();
    await this.#pump;
    await this.#answers?.[Symbol.asyncDispose]();
  }

  /** Closes at once; what is outstanding is given up. Idempotent. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closing = true;
    this.#giveUpAll();
    this.#closed = true;
    for (const entry of this.#inFlight.values()) orphans.add(entry);
    this.#ring[Symbol.dispose]();
    closeFd(this.#fd);
    this.#answers?.[Symbol.dispose]();
    closeFd(this.#eventFd);
  }

  #freeId(): number {
    do this.#lastId = (this.#lastId + 1) & 0x7fff_ffff; while (this.#inFlight.has(this.#lastId));
    return this.#lastId;
  }

  #prepare(request: ControlRequest, id: number): boolean {
    const { command, values, buffer } = request;
    const at = prepUringCmd(this.#ring, this.#fd, command.cmdOp, id, KIND_COMMAND);
    if (at < 0) return false;
    const { sqes } = this.#ring;
    const words = sqes.subarray(at + SQE_CMD_WORD, at + SQE_CMD_WORD + ublksrv_ctrl_cmd.size / 4);
    encode(ublksrv_ctrl_cmd, words, {
      // "Not for a queue" unless a command says otherwise.
      queue_id: 0xffff,
      ...values,
      ...(buffer === undefined ? {} : { addr: addressOf(buffer), len: buffer.length }),
    });
    return true;
  }

  /** Hands over what is pending, and settles what has completed. */
  #collect(): void {
    let seen: number;
    do {
      // It submits, and has the kernel post what found the CQ full or waits for this thread.
      try {
        this.#ring.enter(0);
      } catch (error) {
        return this.#fail(error);
      }
      seen = 0;
      for (let at = this.#ring.peek(); at >= 0; at = this.#ring.peek()) {
        const { cqes } = this.#ring;
        const [id, kind, res] = [cqes[at], cqes[at + 1], cqes[at + 2]];
        this.#ring.seen();
        seen++;
        if (kind === KIND_COMMAND) this.#complete(id, res);
      }
    } while (seen > 0);
  }

  #complete(id: number, res: number): void {
    const entry = this.#inFlight.get(id);
    assert(entry !== undefined, "a completion belongs to a command in flight");
    this.#inFlight.delete(id);
    this.#settle(entry);
    const { request, signal } = entry;
    // Of one that was given up the Promise is rejected already, and these do nothing.
    if (res < 0 && signal?.aborted) entry.reject(abortedError(request, signal.reason));
    else entry.resolve(res);
  }

  /** The ring is of no use any more. Buffers stay, since the kernel may still write to them. */
  #fail(error: unknown): void {
    this.#broken = error;
    for (const entry of this.#inFlight.values()) {
      this.#settle(entry);
      entry.state = "forgotten";
      entry.reject(error);
    }
    this.#answers?.wake();
  }

  #settle(entry: InFlight): void {
    entry.deadline = Infinity;
    entry.signal?.removeEventListener("abort", entry.onAbort);
  }

  /** Does what is due; the ring was looked at just before, so that no answer is overlooked. */
  #expire(): void {
    const now = performance.now();
    // A copy, because giving one up may collect another's completion.
    for (const entry of [...this.#inFlight.values()]) {
      if (entry.deadline > now) continue;
      const { request, signal } = entry;
      if (entry.state === "live" && this.#hasMoreTime(entry, now)) continue;
      if (entry.state === "abandoned") {
        // Nobody waits for it any longer, or the process could not end.
        entry.state = "forgotten";
        entry.deadline = Infinity;
      } else if (signal?.aborted) {
        this.#giveUp(entry, abortedError(request, signal.reason));
      } else {
        this.#giveUp(entry, timeoutError(request, Math.round(entry.deadline - entry.sinceMs)));
      }
    }
  }

  /** Gives a command the time that is due to it by now. */
  #hasMoreTime(entry: InFlight, nowMs: number): boolean {
    const { request, timeoutMs = request.command.timeoutMs, paced, progress, seen } = entry;
    entry.seen = progress();
    if (entry.seen !== seen) entry.sinceMs = nowMs;
    entry.deadline = entry.sinceMs + (paced ? pacedMs(timeoutMs) : timeoutMs);
    return entry.deadline > nowMs;
  }

  #giveUp(entry: InFlight, error: UblkError): void {
    if (entry.state !== "live") return;
    this.#settle(entry);
    entry.state = "abandoned";
    entry.reject(error);
    entry.deadline = performance.now() + GRACE_MS;
    this.#cancel(entry);
    this.#arm(entry.deadline);
  }

  /**
   * A worker of io_uring that sleeps interruptibly (START_DEV, DEL_DEV) is woken by this and answers
   * -EINTR; one that cannot be interrupted answers whenever it does.
   */
  #cancel(entry: InFlight): void {
    if (prepCancel(this.#ring, entry.id, KIND_COMMAND, 0, KIND_CANCEL) >= 0) this.#collect();
  }

  #giveUpAll(): void {
    // A copy, because giving one up may collect another's completion.
    for (const entry of [...this.#inFlight.values()]) {
      this.#giveUp(entry, closedError(entry.request));
    }
  }

  #awaited(): boolean {
    if (this.#closed) return false;
    for (const entry of this.#inFlight.values()) if (entry.state !== "forgotten") return true;
    return false;
  }

  /** Has the pump look again at `deadline` at the latest. */
  #arm(deadline: number): void {
    if (!this.#awaited()) return;
    if (this.#pump === undefined) this.#pump = this.#run();
    else if (deadline < this.#pumpUntil) this.#answers?.wake();
  }

  async #run(): Promise<void> {
    try {
      const answers = this.#answers ??= new PolledFd(this.#eventFd);
      while (this.#awaited()) {
        this.#pumpUntil = Infinity;
        for (const { deadline } of this.#inFlight.values()) {
          this.#pumpUntil = Math.min(this.#pumpUntil, deadline);
        }
        await answers.wait(this.#pumpUntil - performance.now());
        if (this.#closed) break;
        this.#collect();
        this.#expire();
      }
    } catch (error) {
      // No descriptor is left to wait with, for instance.
      this.#fail(error);
    }
    this.#pump = undefined;
  }
}

function closedError(request: ControlRequest): UblkError {
  return new UblkError("ABORTED", {
    operation: request.command.name,
    device: request.device,
    queue: request.queue,
    reason: "the control device was closed",
  });
}

function fullError(request: ControlRequest): UblkError {
  return new UblkError("CONTROL_FAILED", {
    operation: request.command.name,
    device: request.device,
    queue: request.queue,
    reason: `more than ${RING_ENTRIES} control commands wait to be submitted`,
    hint: "send fewer at a time",
  });
}
