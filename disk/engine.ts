/**
 * The interface for engines: backends that hold requests, answer any of them at any time, and have
 * I/O of their own under way. A log-structured volume is one.
 *
 * The other kinds of backend answer the request that they were called with. An engine collects the
 * writes of a batch in one append to its log, has one sync answer all waiting flushes, and serves a
 * read while both are under way. Its thread blocks in the kernel all the same, and one system call
 * submits all of that and waits.
 *
 * ```
 *   host (a serving thread, the library, a simulation)          engine
 *
 *   a request has arrived            ── request(id) ──▶
 *   an operation has completed       ── done(token, result) ──▶
 *   the batch of these has ended     ── batchEnd() ──▶           submits what it collected
 *   another thread signals           ── woken() ──▶
 *                                    ◀── write(…), read(…), sync(…), timeout(…)
 *                                    ◀── answer(id, result) ──
 * ```
 *
 * All calls happen on one thread, and none of them comes while another one runs. `batchEnd` follows
 * every other call before the thread sleeps. An engine called by a serving thread must not wait, and
 * should not allocate or log for each request.
 *
 * An engine must not throw: it would not know what it has done. The host then calls it no more, and
 * answers every request with EIO. The methods of the host throw if the engine breaks a rule below. An
 * engine that still holds old requests 5 s after {@linkcode Engine.giveUp} is called no more, either.
 *
 * After the device's last request, operations under way are cancelled and `done` is called for each;
 * new ones do not begin. An operation for which `done` was not called may still use its memory.
 *
 * @module
 */

/** The kernel's rings hold 32768 operations; these leave room for requests. */
export const MOST_ENGINE_OPERATIONS = 16384;

/** Memory that the kernel can read and write: a mapping, never memory that JavaScript may move. */
export interface EngineMemory {
  /** The memory as bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The address of the first byte. */
  readonly address: number;
}

/** Serves an engine. Requests are small numbers, which are reused once answered. */
export interface EngineHost {
  /** The number of requests that can be open at once. Each is below this number. */
  readonly requests: number;
  /** `UBLK_IO_OP_READ`, `_WRITE`, `_FLUSH`, `_DISCARD` or `_WRITE_ZEROES`. */
  op(request: number): number;
  /** Bytes from the start of the disk. A FLUSH has none: the number has no meaning. */
  offset(request: number): number;
  /** Bytes; 0 for a FLUSH. */
  length(request: number): number;
  /** The write must be durable before it is answered. */
  fua(request: number): boolean;
  /** The space of zeroes may be freed. */
  mayUnmap(request: number): boolean;
  /** The request's data, until it is answered. Empty if the operation carries none. */
  data(request: number): Uint8Array<ArrayBuffer>;
  /**
   * Answers a request: 0 once all of it is done, or the errno as a negative number. No operation
   * may use its data any more. The engine must not touch the request afterwards.
   */
  answer(request: number, result: number): void;
  /** `pread` into the request's data, from its byte `at`. */
  readInto(
    request: number,
    at: number,
    length: number,
    fd: number,
    offset: number,
    token: number,
  ): void;
  /** `pread` into the engine's own memory, from its byte `at`. */
  read(
    memory: EngineMemory,
    at: number,
    length: number,
    fd: number,
    offset: number,
    token: number,
  ): void;
  /**
   * `pwrite` from the engine's own memory, from its byte `at`. With `durable`, the bytes that it
   * writes are durable once it completes (`RWF_DSYNC`), and nothing else: earlier writes to the
   * file may still be lost.
   */
  write(
    memory: EngineMemory,
    at: number,
    length: number,
    fd: number,
    offset: number,
    token: number,
    durable?: boolean,
  ): void;
  /** `fdatasync`. */
  sync(fd: number, token: number): void;
  /** A timer. It completes with a negative errno (-ETIME) after the given microseconds. */
  timeout(microseconds: number, token: number): void;
  /** A clock in microseconds that never goes back. */
  nowUs(): number;
}

/**
 * The engine's side. Tokens are its own names for operations: integers from 0 to 2^31 - 1. The host
 * only returns them.
 */
export interface Engine {
  /** The largest number of operations that the engine has under way at once, at most 16384. */
  readonly operations: number;
  /**
   * An eventfd with which another thread calls {@linkcode woken}. It must block (no
   * `EFD_NONBLOCK`). The engine closes it, after the device's end.
   *
   * @default None
   */
  readonly wakeFd?: number;
  /** The host is ready. Called once, before anything else. It may begin operations. */
  start(host: EngineHost): void;
  /** Takes a request, and answers it now or later. A write's data is in place. */
  request(request: number): void;
  /** An operation has completed: bytes, 0, or a negative errno. */
  done(token: number, result: number): void;
  /** All requests and completions that were there have been passed on; there may be none. */
  batchEnd(): void;
  /** Another thread has signalled {@linkcode wakeFd}. */
  woken?(): void;
  /**
   * Requests have waited for too long. The engine answers every one of them that it can, with an
   * error; others as soon as their data is not in use.
   *
   * When the device ends that is after 5 s, and all operations under way have been cancelled, timers
   * too; they complete soon. On an unprivileged device it is after the deadline, and the device goes
   * on. Then only operations that use the data of such requests have been cancelled. The engine is
   * called again as long as it holds any; after two seconds its other operations are cancelled too.
   * Other devices have no deadline: an engine bounds its own waits.
   *
   * @param isOverdue Whether a request has waited for too long; undefined if the device ends, so that
   *   all of them have.
   */
  giveUp(isOverdue?: (request: number) => boolean): void;
}
