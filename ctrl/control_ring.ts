/**
 * The asynchronous ring under the control commands: each one is a Promise of its result, bounded
 * in time, and the event loop is never blocked.
 *
 * It must not be, because the thread that controls a device may also be the one that answers its
 * I/O, and `START_DEV` does not complete before I/O is answered.
 *
 * @module
 */

import { assert, UblkError } from "../uapi/error.ts";
import { encode, type Input } from "../uapi/struct.ts";
import { ublksrv_ctrl_cmd } from "../uapi/ublk_cmd.ts";
import { addressOf, closeFd } from "../uring/libc.ts";
import { openRing, type RingOptions } from "../uring/open_ring.ts";
import { PROMISE_RING_SETUP, PromiseRing } from "../uring/promise_ring.ts";
import type { Ring } from "../uring/ring.ts";
import type { Patience, RingOperation } from "../uring/ring_operation.ts";
import { prepUringCmd } from "../uring/sqe.ts";
import type { Command } from "./commands.ts";
import { abortedError, timeoutError } from "./errors.ts";
import { pacedMs } from "./pace.ts";

/** The ring's setup. Control commands are few, and each occupies one entry for a moment. */
export const RING_OPTIONS: RingOptions = {
  entries: 64,
  sqe128: true,
  setupFlags: PROMISE_RING_SETUP,
};

/** Where the command's own words start in an SQE: `sqe.cmd`, byte 48. */
const SQE_CMD_WORD = 12;

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

/** The ring under the control commands. It belongs to the thread that made it. */
export class ControlRing implements AsyncDisposable, Disposable {
  readonly #fd: number;
  readonly #ring: PromiseRing;
  #closed = false;

  /** Takes over the descriptor of `/dev/ublk-control`, and the ring where one is given. */
  constructor(fd: number, ring?: Ring) {
    this.#fd = fd;
    try {
      ring ??= openRing(RING_OPTIONS).ring;
      assert(ring.sqeWords === 32, "a control ring has 128-byte SQEs");
      this.#ring = new PromiseRing(ring);
    } catch (error) {
      ring?.[Symbol.dispose]();
      closeFd(fd);
      throw error;
    }
  }

  /** Commands that the kernel has not answered, given up or not. */
  get outstanding(): number {
    return this.#ring.outstanding;
  }

  /**
   * Sends a command.
   *
   * @returns The completion's result: a negative errno is a result like any other.
   * @throws {UblkError} `CONTROL_TIMEOUT`, or `ABORTED` by the signal or on a closed ring.
   */
  submit(request: ControlRequest, options: CommandOptions = {}): Promise<number> {
    const result = this.#ring.submit(new CommandOperation(this.#fd, request), {
      signal: options.signal,
      patience: new CommandPatience(request, options),
      givesUp: request.command.untilAnswered ? "unless-aborted" : "at-once",
    });
    // Some commands are answered at once, within this call.
    this.#ring.collect();
    return result;
  }

  /**
   * Gives up what is outstanding, waits a moment for the kernel to let go of it, and closes. It
   * never takes longer than that moment.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ring[Symbol.asyncDispose]();
    this[Symbol.dispose]();
  }

  /** Closes at once; what is outstanding is given up. Idempotent. */
  [Symbol.dispose](): void {
    this.#ring[Symbol.dispose]();
    if (!this.#closed) closeFd(this.#fd);
    this.#closed = true;
  }
}

/** A command as the ring takes it. */
class CommandOperation implements RingOperation {
  /** With the buffer that the kernel reads and writes. */
  readonly memory: ControlRequest;
  readonly #fd: number;
  readonly #words = new Uint32Array(ublksrv_ctrl_cmd.size / 4);

  constructor(fd: number, request: ControlRequest) {
    this.#fd = fd;
    this.memory = request;
    const { values, buffer } = request;
    encode(ublksrv_ctrl_cmd, this.#words, {
      // "Not for a queue" unless a command says otherwise.
      queue_id: 0xffff,
      ...values,
      ...(buffer === undefined ? {} : { addr: addressOf(buffer), len: buffer.length }),
    });
  }

  prepare(ring: Ring, id: number, kind: number): number {
    const at = prepUringCmd(ring, this.#fd, this.memory.command.cmdOp, id, kind);
    if (at >= 0) ring.sqes.set(this.#words, at + SQE_CMD_WORD);
    return at;
  }

  aborted(reason: unknown): UblkError {
    return abortedError(this.memory, reason);
  }

  closed(): UblkError {
    const { command, device, queue } = this.memory;
    return new UblkError("ABORTED", {
      operation: command.name,
      device,
      queue,
      reason: "the control device was closed",
    });
  }
}

/** The time limit of a command, which begins anew while its device gets on. */
class CommandPatience implements Patience {
  readonly firstMs: number;
  readonly #request: ControlRequest;
  readonly #paced: boolean;
  readonly #progress: () => number;
  /** The progress when the time began, and when that was, by `performance.now()`. */
  #seen: number;
  #sinceMs = performance.now();
  #untilMs: number;

  constructor(request: ControlRequest, options: CommandOptions) {
    const { timeoutMs, paced = timeoutMs === undefined, progress = () => 0 } = options;
    this.firstMs = timeoutMs ?? request.command.timeoutMs;
    this.#request = request;
    this.#paced = paced;
    this.#progress = progress;
    this.#seen = progress();
    this.#untilMs = this.#sinceMs + this.firstMs;
  }

  until(nowMs: number): number {
    const progress = this.#progress();
    if (progress !== this.#seen) this.#sinceMs = nowMs;
    this.#seen = progress;
    this.#untilMs = this.#sinceMs + (this.#paced ? pacedMs(this.firstMs) : this.firstMs);
    return this.#untilMs;
  }

  error(): UblkError {
    return timeoutError(this.#request, Math.round(this.#untilMs - this.#sinceMs));
  }
}
