/**
 * A RAM disk with a log: the smallest engine. It appends the writes of a batch to a file in one
 * operation, answers them when that is done, and has one fdatasync answer all flushes that wait.
 *
 * @module
 */

import type { Backend } from "../../disk/backend.ts";
import type { Engine, EngineHost } from "../../disk/engine.ts";
import { engineMemory } from "../../disk/engine_memory.ts";
import type { BackendSpec } from "../../disk/spec.ts";
import { EIO } from "../../uapi/errno.ts";
import { UBLK_IO_OP_FLUSH, UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../../uapi/ublk_io.ts";
import { O_CREAT, O_RDWR } from "../../uring/file.ts";
import { closeFd, eventFd, openFile } from "../../uring/libc.ts";

/** Bytes of the log, which begins anew when it is full: nobody reads it. */
export const LOG_BYTES = 2 << 20;
/** Bytes of a record's header: operation, offset and length, as doubles. */
export const HEADER_BYTES = 24;
/** Bytes of a batch. One holds the largest request of the tests. */
const BATCH_BYTES = LOG_BYTES;

const TOKEN_APPEND = 1;
const TOKEN_SYNC = 2;
const TOKEN_TIMER = 3;
/** The first token of reads that wait: their requests follow. */
const TOKEN_STUCK = 4;
/** A short timer, and one that outlives the disk (µs). */
const SHORT_US = 1000;
const LONG_US = 1e9;

/** Where reads wait for ever, if there is a file to wait for. */
export const STUCK_AT = 1 << 20;

/** Options of {@linkcode openLogged}. */
export interface LoggedOptions {
  /** Size of the disk in bytes. */
  size: number;
  /** The descriptor of the log. */
  logFd: number;
  /** The block in bytes. */
  blockSize?: number;
  /** An eventfd that wakes the engine. */
  wakeFd?: number;
  /** A file without data: reads of {@linkcode STUCK_AT} wait for it. */
  stuckFd?: number;
}

/** The engine. */
export class LoggedEngine implements Engine {
  readonly operations = 4;
  readonly wakeFd: number | undefined;
  /** Appends begun. */
  appends = 0;
  /** Syncs begun. */
  syncs = 0;
  /** Calls of {@linkcode woken}. */
  wakes = 0;
  /** Results of timers. An engine that can be woken has one running all the time. */
  readonly timers: number[] = [];
  #host!: EngineHost;
  readonly #disk: Uint8Array<ArrayBuffer>;
  readonly #logFd: number;
  readonly #stuckFd: number | undefined;
  readonly #batch = engineMemory(BATCH_BYTES);
  readonly #header = new DataView(this.#batch.bytes.buffer);
  /** Bytes of the batch that is being appended; 0 if none is. */
  #batchBytes = 0;
  #logAt = 0;
  #failed = false;
  /** Requests that are to be appended, and those of the append under way. */
  readonly #waiting: number[] = [];
  readonly #appending: number[] = [];
  /** Flushes that no sync covers yet, and those of the sync under way. */
  readonly #flushes: number[] = [];
  readonly #syncing: number[] = [];

  constructor(disk: Uint8Array<ArrayBuffer>, { logFd, wakeFd, stuckFd }: LoggedOptions) {
    this.#disk = disk;
    this.#logFd = logFd;
    this.wakeFd = wakeFd;
    this.#stuckFd = stuckFd;
  }

  start(host: EngineHost): void {
    this.#host = host;
    if (this.wakeFd !== undefined) host.timeout(SHORT_US, TOKEN_TIMER);
  }

  request(request: number): void {
    const host = this.#host;
    const op = host.op(request);
    const offset = host.offset(request);
    if (op === UBLK_IO_OP_READ) {
      const data = host.data(request);
      if (this.#stuckFd !== undefined && offset === STUCK_AT) {
        return host.readInto(request, 0, data.length, this.#stuckFd, 0, TOKEN_STUCK + request);
      }
      data.set(this.#disk.subarray(offset, offset + data.length));
      return host.answer(request, 0);
    }
    if (this.#failed) return host.answer(request, -EIO);
    if (op === UBLK_IO_OP_FLUSH) return void this.#flushes.push(request);
    if (op === UBLK_IO_OP_WRITE) this.#disk.set(host.data(request), offset);
    else this.#disk.fill(0, offset, offset + host.length(request));
    this.#waiting.push(request);
  }

  batchEnd(): void {
    if (this.#batchBytes === 0 && this.#waiting.length > 0) this.#append();
    // A flush covers the writes answered before it: those being appended need not be waited for.
    if (this.#syncing.length > 0 || this.#flushes.length === 0) return;
    this.#syncing.push(...this.#flushes.splice(0));
    this.syncs++;
    this.#host.sync(this.#logFd, TOKEN_SYNC);
  }

  /** Appends as many of the waiting requests as the batch holds. */
  #append(): void {
    const host = this.#host;
    let used = 0;
    while (this.#waiting.length > 0) {
      const [request] = this.#waiting;
      const data = host.data(request);
      if (used + HEADER_BYTES + data.length > BATCH_BYTES) break;
      this.#header.setFloat64(used, host.op(request));
      this.#header.setFloat64(used + 8, host.offset(request));
      this.#header.setFloat64(used + 16, host.length(request));
      this.#batch.bytes.set(data, used + HEADER_BYTES);
      used += HEADER_BYTES + data.length;
      this.#appending.push(this.#waiting.shift()!);
    }
    if (this.#logAt + used > LOG_BYTES) this.#logAt = 0;
    this.#batchBytes = used;
    this.appends++;
    host.write(this.#batch, 0, used, this.#logFd, this.#logAt, TOKEN_APPEND);
    this.#logAt += used;
  }

  done(token: number, result: number): void {
    if (token === TOKEN_TIMER) {
      this.timers.push(result);
      return this.#host.timeout(LONG_US, TOKEN_TIMER);
    }
    if (token >= TOKEN_STUCK) return this.#host.answer(token - TOKEN_STUCK, -EIO);
    const isSync = token === TOKEN_SYNC;
    const failed = isSync ? result < 0 : result !== this.#batchBytes;
    this.#answerAll(isSync ? this.#syncing : this.#appending, failed ? -EIO : 0);
    if (!isSync) this.#batchBytes = 0;
    if (failed) this.#fail();
  }

  woken(): void {
    this.wakes++;
  }

  giveUp(): void {
    this.#fail();
  }

  /** Answers all that no operation is under way for, and takes no more. */
  #fail(): void {
    this.#failed = true;
    this.#answerAll(this.#waiting, -EIO);
    this.#answerAll(this.#flushes, -EIO);
  }

  #answerAll(requests: number[], result: number): void {
    for (const request of requests.splice(0)) this.#host.answer(request, result);
  }

  /** Releases the memory, unless the kernel may still read it. */
  end(): void {
    if (this.#batchBytes === 0) this.#batch[Symbol.dispose]();
  }
}

/** Opens the disk over a log that is open. The methods do not write the log. */
export function openLogged(options: LoggedOptions) {
  const { size, blockSize } = options;
  const disk = new Uint8Array(size);
  const engine = new LoggedEngine(disk, options);
  const backend: Backend = {
    ...{ size, engine, synchronous: true, ...(blockSize === undefined ? {} : { blockSize }) },
    readAt: (buffer, offset) => buffer.set(disk.subarray(offset, offset + buffer.length)),
    writeAt: (buffer, offset) => disk.set(buffer, offset),
    flush: () => {},
    trim: (offset, length) => void disk.fill(0, offset, offset + length),
    writeZeroes: (offset, length) => void disk.fill(0, offset, offset + length),
  };
  return { backend, engine, end: () => engine.end() };
}

/** What an engine has counted. */
export interface Counts {
  appends: number;
  syncs: number;
  wakes: number;
  timers: number[];
}

/**
 * A disk of `size` bytes with its log in the file at `path`. Its counts are in `path`.json later.
 *
 * @param fifo A FIFO without data, for which reads of {@linkcode STUCK_AT} wait.
 */
export function logged(path: string, size: number, fifo?: string): BackendSpec {
  return { module: import.meta.url, options: { path, size, fifo } };
}

/** Opens the disk. */
export function open(options: unknown): Backend {
  const { path, size, fifo } = options as { path: string; size: number; fifo?: string };
  const logFd = openFile(path, O_RDWR | O_CREAT, 0o600);
  const wakeFd = eventFd();
  const stuckFd = fifo === undefined ? undefined : openFile(fifo, O_RDWR);
  const waker = new Worker(new URL("./engine_waker.ts", import.meta.url), { type: "module" });
  waker.postMessage(wakeFd);
  const { backend, engine, end } = openLogged({ size, logFd, wakeFd, stuckFd });
  return {
    ...backend,
    close() {
      waker.terminate();
      end();
      closeFd(wakeFd);
      closeFd(logFd);
      if (stuckFd !== undefined) closeFd(stuckFd);
      const { appends, syncs, wakes, timers } = engine;
      const counts: Counts = { appends, syncs, wakes, timers };
      Deno.writeTextFileSync(`${path}.json`, JSON.stringify(counts));
    },
  };
}
