/**
 * The asynchronous ring for control commands. Each command returns a Promise of its result, with a
 * time limit, and never blocks the event loop.
 *
 * Blocking would be a deadlock: the thread that controls a device may also answer its I/O, and
 * `START_DEV` does not complete before I/O is answered.
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

/** The ring's setup. Control commands are few, and each takes one entry for a short time. */
export const RING_OPTIONS: RingOptions = {
  entries: 64,
  sqe128: true,
  setupFlags: PROMISE_RING_SETUP,
};

/** Index of the command's own words in an SQE: `sqe.cmd`, byte 48. */
const SQE_CMD_WORD = 12;

/** The time limit and the cancellation of a command. */
export interface CommandOptions {
  /**
   * Time limit in milliseconds. The default is the command's own limit, multiplied by the number of
   * this thread's devices that are at a step (see `beginStep`).
   */
  timeoutMs?: number;
  /** Whether to multiply an explicit {@linkcode timeoutMs} in the same way. */
  paced?: boolean;
  /**
   * Returns a number that changes while the device makes progress by answering requests. A change
   * restarts the time limit.
   */
  progress?: () => number;
  /**
   * Aborts the command with `ABORTED`. This happens at once, but for START_DEV and
   * END_USER_RECOVERY only after the kernel has answered. If the command has been carried out by
   * then, its answer is returned as usual.
   */
  signal?: AbortSignal;
}

/** One command to send. */
export interface ControlRequest {
  /** The command. */
  readonly command: Command;
  /** The command's fields. `addr` and `len` are set from {@linkcode buffer}. */
  readonly values: Input<ublksrv_ctrl_cmd>;
  /** Memory that the kernel reads and writes. It must not be reused before the result. */
  readonly buffer?: Uint8Array<ArrayBuffer>;
  /** The device to name in errors. */
  readonly device?: number;
  /** The queue to name in errors. */
  readonly queue?: number;
}

/** The ring for control commands. It belongs to the thread that made it. */
export class ControlRing implements AsyncDisposable, Disposable {
  readonly #fd: number;
  readonly #ring: PromiseRing;
  #closed = false;

  /** Takes ownership of the descriptor of `/dev/ublk-control`, and of the ring if given. */
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

  /** Number of commands that the kernel has not answered, including those given up. */
  get outstanding(): number {
    return this.#ring.outstanding;
  }

  /**
   * Sends a command.
   *
   * @returns The completion's result, which may be a negative errno.
   * @throws {UblkError} `CONTROL_TIMEOUT`; `ABORTED` by the signal or if the ring is closed.
   */
  submit(request: ControlRequest, options: CommandOptions = {}): Promise<number> {
    const result = this.#ring.submit(new CommandOperation(this.#fd, request), {
      signal: options.signal,
      patience: new CommandPatience(request, options),
      givesUp: request.command.untilAnswered ? "unless-aborted" : "at-once",
    });
    // Some commands are answered at once, during submission.
    this.#ring.collect();
    return result;
  }

  /**
   * Gives up outstanding commands, waits for a short, fixed time until the kernel releases them,
   * and closes.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ring[Symbol.asyncDispose]();
    this[Symbol.dispose]();
  }

  /** Gives up outstanding commands and closes at once. Idempotent. */
  [Symbol.dispose](): void {
    this.#ring[Symbol.dispose]();
    if (!this.#closed) closeFd(this.#fd);
    this.#closed = true;
  }
}

/** A command as an operation of the Promise ring. */
class CommandOperation implements RingOperation {
  /** The request. It keeps the buffer alive that the kernel reads and writes. */
  readonly memory: ControlRequest;
  readonly #fd: number;
  readonly #words = new Uint32Array(ublksrv_ctrl_cmd.size / 4);

  constructor(fd: number, request: ControlRequest) {
    this.#fd = fd;
    this.memory = request;
    const { values, buffer } = request;
    encode(ublksrv_ctrl_cmd, this.#words, {
      // -1 means that the command is not for a queue.
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

/** The time limit of a command. It restarts whenever the device makes progress. */
class CommandPatience implements Patience {
  readonly firstMs: number;
  readonly #request: ControlRequest;
  readonly #paced: boolean;
  readonly #progress: () => number;
  /** The progress at the last restart, and the time of that, by `performance.now()`. */
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
