/**
 * The host of a disk: performs requests for callers other than ublk's queues. It checks bounds,
 * enforces deadlines, and returns a result whatever the backend does.
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
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
} from "../uapi/ublk_io.ts";
import { asPromise, isLater } from "./answers.ts";
import type { Backend, Extent } from "./backend.ts";
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

/** Options of a {@linkcode DiskHost}. */
export interface HostOptions {
  /**
   * Time limit for `close`, and for a request without a limit of its own, in milliseconds.
   *
   * @default 20_000
   */
  readonly deadlineMs?: number;
  /**
   * Detect a backend that uses buffers after its answer.
   *
   * @default false
   */
  readonly paranoid?: boolean;
  /**
   * Receives the backend's faults, one line each.
   *
   * @default They are dropped
   */
  readonly report?: (text: string) => void;
}

/** A request. */
export interface DiskRequest {
  /** `UBLK_IO_OP_READ`, `_WRITE`, `_FLUSH`, `_DISCARD` or `_WRITE_ZEROES`. */
  readonly op: number;
  /** Bytes from the start of the disk. Ignored for a FLUSH. */
  readonly offset: number;
  /** Bytes. Ignored for a FLUSH. */
  readonly length: number;
  /** The data of a READ or WRITE, exactly `length` bytes. Lent to the disk until the answer. */
  readonly buffer?: Uint8Array<ArrayBuffer>;
  /**
   * The write must be durable before it is answered.
   *
   * @default false
   */
  readonly fua?: boolean;
  /**
   * The zeroed space may be freed.
   *
   * @default false
   */
  readonly mayUnmap?: boolean;
}

/** Maximum number of requests past their deadline that still run. Each keeps its buffer alive. */
const MOST_OVERDUE = 256;

/** The default of {@linkcode HostOptions.deadlineMs}. */
const DEADLINE_MS = 20_000;

/** A disk that performs requests, one at a time or many at once. */
export class DiskHost implements AsyncDisposable {
  /** The outermost backend. */
  readonly backend: Backend;
  /**
   * The backend's traits when used through its methods; `ring` and `address` are never used here.
   */
  readonly traits: BackendTraits;
  /** Requests that wait for a Promise of the backend. */
  readonly #inFlight = new Set<LateRequest>();
  /** Number of requests that their deadline answered, and whose Promises have not settled yet. */
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
    const { deadlineMs = DEADLINE_MS, report = () => {} } = options;
    this.backend = backend;
    this.traits = traitsOf(backend, false);
    this.#seen = options.paranoid ? paranoid(backend, report) : backend;
    this.#faults = new RequestFaults(report);
    this.#deadlineMs = deadlineMs;
    this.#end = end;
  }

  /**
   * Opens a specification in this thread, and hosts it.
   *
   * @throws {UblkError} As {@linkcode OpenedDisk.open} does. Nothing is left open then.
   */
  static async open(spec: BackendSpec, options: HostOptions & OpenOptions = {}): Promise<DiskHost> {
    // The backend is to know the default too.
    const { deadlineMs = DEADLINE_MS } = options;
    const disk = await OpenedDisk.open(spec, { ...options, deadlineMs });
    return new DiskHost(disk.backend, options, () => disk.close());
  }

  /**
   * Hosts a backend that is already open. The host closes it in the end.
   *
   * @throws {UblkError} `BACKEND_SHAPE` if the value is not a backend.
   */
  static of(backend: Backend, options: HostOptions = {}): DiskHost {
    checkBackend(backend, "given to a host");
    return new DiskHost(backend, options, async () => await backend.close?.());
  }

  /** Current size of the disk in bytes. A resize changes it. */
  get size(): number {
    return this.backend.size;
  }

  /**
   * Performs a request.
   *
   * After -ETIMEDOUT the backend may still use the buffer, so do not reuse it. As in the block
   * layer, a write with `fua` to a disk that does not honour FUA is followed by a flush.
   *
   * @param deadlineMs Time limit in milliseconds. It does not apply to a backend that answers at
   *   once.
   * @returns Bytes done (0 for a request without data) or a negative errno; either at once or as a
   *   Promise that never rejects. An impossible request gets -EINVAL (bounds, alignment, buffer),
   *   -EPERM (a write to a read-only disk) or -EOPNOTSUPP. A closed host answers -ENODEV.
   */
  request(
    request: DiskRequest,
    deadlineMs: number = this.#deadlineMs,
  ): number | Promise<number> {
    if (this.#closed !== undefined) return -ENODEV;
    const { op, length } = request;
    // Without `flush`, every write is final when answered.
    if (op === UBLK_IO_OP_FLUSH && !this.traits.flush) return 0;
    const errno = this.#faultOf(request);
    if (errno !== 0) return -errno;
    const faults = this.#faults.of(request);
    if (this.#overdue >= MOST_OVERDUE) {
      // The backend no longer answers; it would only keep one more buffer.
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

  /**
   * Says how the disk is stored at a place. A disk that does not know is all data.
   *
   * @param length Bytes. The range is whole blocks within the disk.
   * @returns An extent of at most so many bytes, or a negative errno.
   */
  extentAt(offset: number, length: number): Extent | number | Promise<Extent | number> {
    if (this.#closed !== undefined) return -ENODEV;
    if (this.backend.extentAt === undefined) return { length, isHole: false };
    const faults = this.#faults.of({ op: UBLK_IO_OP_READ, offset, length });
    const judge = (found: unknown) => {
      if (isExtent(found, length, this.traits.blockSize)) return found;
      faults.failed(0, "extentAt gave no part of the range; answering EIO");
      return -EIO;
    };
    try {
      const value: unknown = this.backend.extentAt(offset, length);
      return isLater(value) ? this.#extentLater(value, judge) : judge(value);
    } catch (thrown) {
      return resultOfThrown(thrown, 0, faults);
    }
  }

  #extentLater(
    answer: PromiseLike<unknown>,
    judge: (found: unknown) => Extent | number,
  ): Promise<Extent | number> {
    const { promise, resolve } = Promise.withResolvers<Extent | number>();
    let found: Extent | number | undefined;
    const late = new LateRequest(this.#deadlineMs, (result) => {
      this.#inFlight.delete(late);
      resolve(found ?? result);
      if (this.#inFlight.size === 0) this.#drained?.();
    });
    this.#inFlight.add(late);
    const settle = (result: () => Extent | number) => {
      if (late.isAnswered) return;
      found = result();
      late.answer(0);
    };
    asPromise(answer).then(
      (value) => settle(() => judge(value)),
      (thrown) => settle(() => resultOfThrown(thrown, 0, this.#faults)),
    );
    return promise;
  }

  /** Checks a request. Returns 0, or the positive errno if this disk cannot perform it. */
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
    // NaN and fractions of a byte fail this check. Ask for the size anew: it may have changed.
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
   * Waits for the requests in flight, at most until the deadline, and then closes the backend and
   * all backends inside it. New requests get -ENODEV. A second call waits for the first to finish.
   *
   * @param deadlineMs Time limit in milliseconds for each of the two steps.
   * @throws {unknown} The error of a backend's `close` or a module's `unshare`.
   * @throws {UblkError} `SYSCALL_FAILED` with ETIMEDOUT if they take longer.
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

  /** Same as {@linkcode close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Whether a value is an extent of at most `most` bytes. One that is not would make its caller skip
 * data, or go round in circles.
 */
function isExtent(found: unknown, most: number, blockSize: number): found is Extent {
  const { length, isHole } = (found ?? {}) as Partial<Extent>;
  return typeof isHole === "boolean" && Number.isSafeInteger(length) && length! > 0 &&
    length! <= most && length! % blockSize === 0;
}

/** A flush's answer behind a write, of which its count of bytes, 0, is none. */
const nothingFor = (answer: unknown) => answer === 0 ? undefined : answer;

/**
 * Reports faults with the request's name. One object per host suffices: each report is synchronous.
 */
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
    hint: "see the backend's close(); what a volume's store lacks stays in its journal",
  });
}
