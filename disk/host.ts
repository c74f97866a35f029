/**
 * The host of a disk: whoever has requests for a backend and is no queue of ublk's has them
 * performed here, rightly: within their bounds, by their deadlines, and with a result for whatever
 * the backend does.
 *
 * @module
 */

import { EINVAL, EIO, ENODEV, EOPNOTSUPP, EPERM, ETIMEDOUT } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import {
  UBLK_IO_F_FUA,
  UBLK_IO_F_NOUNMAP,
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
} from "../uapi/ublk_io.ts";
import { asPromise, isLater } from "./answers.ts";
import type { Backend } from "./backend.ts";
import {
  dataless,
  type FaultReport,
  refusePromise,
  resultOf,
  resultOfThrown,
  transfer,
} from "./calls.ts";
import { LateRequest, startTimer, type Timer } from "./late_request.ts";
import { carriesData, fullResult } from "./operations.ts";
import { OpenedDisk, type OpenOptions } from "./opened.ts";
import { paranoid } from "./paranoid.ts";
import { checkBackend } from "./shape.ts";
import type { BackendSpec } from "./spec.ts";
import { type BackendTraits, traitsOf } from "./traits.ts";

/** How a disk is to be hosted. */
export interface HostOptions {
  /** How long a request may take where it does not say, and `close`, in milliseconds. Default: 20 s. */
  readonly deadlineMs?: number;
  /** Whether a backend that keeps its buffers shall be caught. Default: false. */
  readonly paranoid?: boolean;
  /** Is told of the backend's faults, a line each. Default: nobody is. */
  readonly report?: (text: string) => void;
}

/** A request. */
export interface DiskRequest {
  /** `UBLK_IO_OP_READ`, `_WRITE`, `_FLUSH`, `_DISCARD` or `_WRITE_ZEROES`. */
  readonly op: number;
  /** Bytes from the start of the disk; nothing to a FLUSH. */
  readonly offset: number;
  /** Bytes; nothing to a FLUSH. */
  readonly length: number;
  /** The data of a READ or WRITE: as many bytes. It is lent until the answer. */
  readonly buffer?: Uint8Array<ArrayBuffer>;
  /** The write must be durable before it is answered. Default: false. */
  readonly fua?: boolean;
  /** Zeroed space may be given back. Default: false. */
  readonly mayUnmap?: boolean;
}

/** Requests that have missed their deadlines and may still be worked on: each keeps its buffer. */
const MOST_OVERDUE = 256;

/** A disk to which requests are made, one at a time or many side by side. */
export class DiskHost implements AsyncDisposable {
  /** The outermost backend. */
  readonly backend: Backend;
  /** Its traits as methods have them: a way through a ring or by an address is none here. */
  readonly traits: BackendTraits;
  /** Requests that wait for a Promise of the backend. */
  readonly #inFlight = new Set<LateRequest>();
  /** Those that were answered by their deadlines, and whose Promises have not settled since. */
  #overdue = 0;
  readonly #seen: Backend & Partial<Disposable>;
  readonly #faults: RequestFaults;
  readonly #deadlineMs: number;
  readonly #end: () => Promise<unknown>;
  #closed: Promise<void> | undefined;
  /** The backend is being closed, or is closed. */
  #isOver = false;
  #drained: (() => void) | undefined;

  private constructor(backend: Backend, options: HostOptions, end: () => Promise<unknown>) {
    const { deadlineMs = 20_000, report = () => {} } = options;
    this.backend = backend;
    this.traits = traitsOf(backend, false);
    this.#seen = options.paranoid ? paranoid(backend, report) : backend;
    this.#faults = new RequestFaults(report);
    this.#deadlineMs = deadlineMs;
    this.#end = end;
  }

  /**
   * Opens a specification in this thread.
   *
   * @throws {UblkError} What {@linkcode OpenedDisk.open} throws; nothing is left open then.
   */
  static async open(spec: BackendSpec, options: HostOptions & OpenOptions = {}): Promise<DiskHost> {
    const disk = await OpenedDisk.open(spec, options);
    return new DiskHost(disk.backend, options, () => disk.close());
  }

  /**
   * Takes over a backend that is open, and closes it in the end.
   *
   * @throws {UblkError} `BACKEND_SHAPE` where it is none.
   */
  static of(backend: Backend, options: HostOptions = {}): DiskHost {
    checkBackend(backend, "given to a host");
    return new DiskHost(backend, options, async () => await backend.close?.());
  }

  /** Bytes of the disk, which a resize changes. */
  get size(): number {
    return this.backend.size;
  }

  /**
   * Performs a request.
   *
   * After -ETIMEDOUT the backend may still work on the buffer: it must not be used again. A write
   * with `fua` to a disk that does not honour it is followed by a flush, as the block layer does.
   *
   * @param deadlineMs How long it may take, in milliseconds. A backend that answers at once has none.
   * @returns Bytes done (0 for what carries no data) or a negative errno: at once, or by a Promise,
   *   which does not reject. What the request makes impossible is -EINVAL (bounds, alignment,
   *   buffer), -EPERM (a write to a read-only disk) or -EOPNOTSUPP; -ENODEV says that the host is
   *   closed.
   */
  request(
    request: DiskRequest,
    deadlineMs: number = this.#deadlineMs,
  ): number | Promise<number> {
    if (this.#closed !== undefined) return -ENODEV;
    const { op, length } = request;
    // All writes are final when answered.
    if (op === UBLK_IO_OP_FLUSH && !this.traits.flush) return 0;
    const errno = this.#faultOf(request);
    if (errno !== 0) return -errno;
    const faults = this.#faults.of(request);
    if (this.#overdue >= MOST_OVERDUE) {
      // It answers nothing any more, and would only keep every further buffer too.
      faults.failed(0, "the backend has too many overdue requests; answering EIO");
      return -EIO;
    }
    const full = fullResult(op, length);
    try {
      const value = this.#call(request);
      if (!isLater(value)) return resultOf(value, full, 0, faults);
      if (this.backend.synchronous === true) return refusePromise(value, faults);
      return this.#later(request, value, full, deadlineMs);
    } catch (thrown) {
      return resultOfThrown(thrown, 0, faults);
    }
  }

  /** 0, or the positive errno for what no such disk can be asked. */
  #faultOf({ op, offset, length, buffer }: DiskRequest): number {
    const { readOnly, trim, writeZeroes, blockSize } = this.traits;
    if (op === UBLK_IO_OP_FLUSH) return 0;
    if (carriesData(op)) {
      if (buffer === undefined || buffer.length !== length) return EINVAL;
      if (readOnly && op === UBLK_IO_OP_WRITE) return EPERM;
    } else {
      if (op !== UBLK_IO_OP_DISCARD && op !== UBLK_IO_OP_WRITE_ZEROES) return EOPNOTSUPP;
      if (readOnly) return EPERM;
      if (!(op === UBLK_IO_OP_DISCARD ? trim : writeZeroes)) return EOPNOTSUPP;
    }
    const isWhole = offset % blockSize === 0 && length % blockSize === 0;
    // NaN and fractions of a byte are not whole; and the size may have changed since.
    return isWhole && offset >= 0 && length > 0 && offset + length <= this.backend.size
      ? 0
      : EINVAL;
  }

  #call({ op, offset, length, buffer, fua = false, mayUnmap = false }: DiskRequest): unknown {
    const { traits } = this;
    const seen = this.#seen;
    if (!carriesData(op)) {
      return dataless(seen, mayUnmap ? op : op | UBLK_IO_F_NOUNMAP, offset, length);
    }
    const value = transfer(seen, fua ? op | UBLK_IO_F_FUA : op, buffer!, offset);
    if (op !== UBLK_IO_OP_WRITE || !fua || traits.fua || !traits.flush) return value;
    const flushed = (written: unknown) => {
      if (written !== undefined && written !== length) return written;
      // It was answered for by its deadline.
      if (this.#isOver) return;
      const answer: unknown = seen.flush!();
      return isLater(answer) ? asPromise(answer).then(nothingFor) : nothingFor(answer);
    };
    return isLater(value) ? asPromise(value).then(flushed) : flushed(value);
  }

  #later(
    request: DiskRequest,
    answer: PromiseLike<unknown>,
    full: number,
    deadlineMs: number,
  ): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>();
    const late = new LateRequest(deadlineMs, (result, waitedMs) => {
      this.#inFlight.delete(late);
      if (waitedMs !== undefined) {
        this.#overdue++;
        const text = `no answer from the backend in ${waitedMs} ms; answering ETIMEDOUT`;
        this.#faults.of(request).failed(0, text);
      }
      resolve(result);
      if (this.#inFlight.size === 0) this.#drained?.();
    });
    this.#inFlight.add(late);
    const settle = (result: () => number) => {
      if (late.isAnswered) this.#overdue--;
      else late.answer(result());
    };
    asPromise(answer).then(
      (value) => settle(() => resultOf(value, full, 0, this.#faults.of(request))),
      (thrown) => settle(() => resultOfThrown(thrown, 0, this.#faults.of(request))),
    );
    return promise;
  }

  /**
   * Waits until the requests in flight are answered, by the deadline at the latest, and closes the
   * backend and all that is inside. Requests that come meanwhile or later get -ENODEV. Closing again
   * is to wait for the same end.
   *
   * @param deadlineMs How long each of the two may take, in milliseconds.
   * @throws {unknown} What a backend's `close` or a module's `unshare` throws.
   * @throws {UblkError} `SYSCALL_FAILED` with ETIMEDOUT where they take longer.
   */
  close(deadlineMs: number = this.#deadlineMs): Promise<void> {
    return this.#closed ??= this.#close(deadlineMs);
  }

  async #close(deadlineMs: number): Promise<void> {
    if (this.#inFlight.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#drained = resolve;
      const timer = startTimer(deadlineMs, () => {
        for (const late of this.#inFlight) late.expire();
      });
      await promise;
      clearTimeout(timer);
    }
    this.#isOver = true;
    this.#seen[Symbol.dispose]?.();
    let timer: Timer;
    const overdue = new Promise<never>((_, reject) => {
      timer = startTimer(deadlineMs, () => reject(closeError(deadlineMs)));
    });
    try {
      await Promise.race([this.#end(), overdue]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** {@linkcode close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** A flush's answer behind a write, of which its count of bytes, 0, is none. */
const nothingFor = (answer: unknown) => answer === 0 ? undefined : answer;

/** Names the request at hand. One for all of a host: nothing else happens while it is told. */
class RequestFaults implements FaultReport {
  readonly #report: (text: string) => void;
  #request!: DiskRequest;

  constructor(report: (text: string) => void) {
    this.#report = report;
  }

  of(request: DiskRequest): this {
    this.#request = request;
    return this;
  }

  failed(_request: number, text: string): void {
    this.#report(`operation ${this.#request.op} at ${this.#request.offset}: ${text}`);
  }

  broken(text: string): void {
    this.#report(text);
  }
}

function closeError(deadlineMs: number): UblkError {
  return new UblkError("SYSCALL_FAILED", {
    operation: "close the disk",
    reason: `it is not done in ${deadlineMs} ms`,
    errno: ETIMEDOUT,
    hint: "see the backend's close()",
  });
}
