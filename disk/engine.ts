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
 * All calls happen on one thread, and none of them comes while another one runs. An engine called by
 * a serving thread must not allocate per request, await or log.
 *
 * @module
 */

/** Memory that the kernel can read and write: a mapping, never memory that JavaScript may move. */
export interface EngineMemory {
  /** The memory as bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The address of the first byte. */
  readonly address: number;
}

/** What an engine is served by. Requests are small numbers, which are used again once answered. */
export interface EngineHost {
  /** The number of requests that can be open at once. Each is below this number. */
  readonly requests: number;
  /** `UBLK_IO_OP_READ`, `_WRITE`, `_FLUSH`, `_DISCARD` or `_WRITE_ZEROES`. */
  op(request: number): number;
  /** Bytes from the start of the disk. */
  offset(request: number): number;
  /** Bytes. */
  length(request: number): number;
  /** The write must be durable before it is answered. */
  fua(request: number): boolean;
  /** The space of zeroes may be freed. */
  mayUnmap(request: number): boolean;
  /** The request's data, until it is answered. */
  data(request: number): Uint8Array<ArrayBuffer>;
  /**
   * Answers a request: 0 or the errno as a negative number. No operation may use its data any more.
   * The engine must not touch the request afterwards.
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
  /** `pwrite` from the engine's own memory, from its byte `at`. */
  write(
    memory: EngineMemory,
    at: number,
    length: number,
    fd: number,
    offset: number,
    token: number,
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
  /** The largest number of operations that the engine has under way at once. */
  readonly operations: number;
  /**
   * An eventfd with which another thread calls {@linkcode woken}.
   *
   * @default None
   */
  readonly wakeFd?: number;
  /** The host is ready. Called once, before anything else. */
  start(host: EngineHost): void;
  /** Takes a request, and answers it now or later. A write's data is in place. */
  request(request: number): void;
  /** An operation has completed: bytes, 0, or a negative errno. */
  done(token: number, result: number): void;
  /** All requests and completions that were there have been passed on. */
  batchEnd(): void;
  /** Another thread has signalled {@linkcode wakeFd}. */
  woken?(): void;
  /**
   * The device ends, and requests have waited for too long. The engine answers every request that it
   * can, with an error. Operations are cancelled: those under way complete soon.
   */
  giveUp(): void;
}
