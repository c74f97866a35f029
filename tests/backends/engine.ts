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
}

/** Numbers in the order in which they came. */
class Line {
  readonly #numbers: Int32Array;
  #count = 0;

  constructor(length: number) {
    this.#numbers = new Int32Array(length);
  }

  get length(): number {
    return this.#count;
  }

  push(number: number): void {
    this.#numbers[this.#count++] = number;
  }

  at(nth: number): number {
    return this.#numbers[nth];
  }

  /** Removes the first ones. */
  drop(count: number): void {
    this.#numbers.copyWithin(0, count, this.#count);
    this.#count -= count;
  }
}

/** Records that are collected, or being appended. */
class Batch {
  readonly memory = engineMemory(BATCH_BYTES);
  readonly #view = new DataView(this.memory.bytes.buffer);
  readonly requests: Line;
  used = 0;

  constructor(requests: number) {
    this.requests = new Line(requests);
  }

  /** Adds a record, unless it is full. */
  add(host: EngineHost, request: number): boolean {
    const data = host.data(request);
    if (this.used + HEADER_BYTES + data.length > BATCH_BYTES) return false;
    this.#view.setFloat64(this.used, host.op(request));
    this.#view.setFloat64(this.used + 8, host.offset(request));
    this.#view.setFloat64(this.used + 16, host.length(request));
    this.memory.bytes.set(data, this.used + HEADER_BYTES);
    this.used += HEADER_BYTES + data.length;
    this.requests.push(request);
    return true;
  }

  clear(): void {
    this.used = 0;
    this.requests.drop(this.requests.length);
  }
}

/** The engine. */
export class LoggedEngine implements Engine {
  readonly operations = 2;
  readonly wakeFd: number | undefined;
  /** Syncs begun. */
  syncs = 0;
  /** Appends begun. */
  appends = 0;
  /** Calls of {@linkcode woken}. */
  wakes = 0;
  #host!: EngineHost;
  readonly #disk: Uint8Array<ArrayBuffer>;
  readonly #logFd: number;
  #collecting!: Batch;
  #appending!: Batch;
  #isAppending = false;
  #isSyncing = false;
  #logAt = 0;
  /** Requests that found the batch full. */
  #late!: Line;
  #flushes!: Line;
  /** Number of flushes that the sync under way covers. */
  #covered = 0;
  #failed = false;

  constructor(disk: Uint8Array<ArrayBuffer>, logFd: number, wakeFd?: number) {
    this.#disk = disk;
    this.#logFd = logFd;
    this.wakeFd = wakeFd;
  }

  start(host: EngineHost): void {
    this.#host = host;
    this.#collecting = new Batch(host.requests);
    this.#appending = new Batch(host.requests);
    this.#late = new Line(host.requests);
    this.#flushes = new Line(host.requests);
  }

  request(request: number): void {
    const host = this.#host;
    const op = host.op(request);
    const offset = host.offset(request);
    if (op === UBLK_IO_OP_READ) {
      const data = host.data(request);
      data.set(this.#disk.subarray(offset, offset + data.length));
      return host.answer(request, 0);
    }
    if (this.#failed) return host.answer(request, -EIO);
    if (op === UBLK_IO_OP_FLUSH) return this.#flushes.push(request);
    if (op === UBLK_IO_OP_WRITE) this.#disk.set(host.data(request), offset);
    else this.#disk.fill(0, offset, offset + host.length(request));
    if (this.#late.length > 0 || !this.#collecting.add(host, request)) this.#late.push(request);
  }

  batchEnd(): void {
    const host = this.#host;
    if (!this.#isAppending && this.#collecting.used > 0) {
      const batch = this.#collecting;
      this.#collecting = this.#appending;
      this.#appending = batch;
      if (this.#logAt + batch.used > LOG_BYTES) this.#logAt = 0;
      this.#isAppending = true;
      this.appends++;
      host.write(batch.memory, 0, batch.used, this.#logFd, this.#logAt, TOKEN_APPEND);
      this.#logAt += batch.used;
      while (this.#late.length > 0 && this.#collecting.add(host, this.#late.at(0))) {
        this.#late.drop(1);
      }
    }
    // Each flush covers the writes answered before it, so those being appended need not be waited for.
    if (!this.#isSyncing && this.#flushes.length > 0) {
      this.#covered = this.#flushes.length;
      this.#isSyncing = true;
      this.syncs++;
      host.sync(this.#logFd, TOKEN_SYNC);
    }
  }

  done(token: number, result: number): void {
    if (token === TOKEN_SYNC) {
      this.#isSyncing = false;
      if (result < 0) this.#failed = true;
      this.#answerAll(this.#flushes, this.#covered, result);
    } else {
      this.#isAppending = false;
      const batch = this.#appending;
      const errno = result === batch.used ? 0 : -EIO;
      if (errno !== 0) this.#failed = true;
      this.#answerAll(batch.requests, batch.requests.length, errno);
      batch.clear();
    }
    if (this.#failed) this.#fail();
  }

  woken(): void {
    this.wakes++;
  }

  giveUp(): void {
    this.#failed = true;
    this.#fail();
  }

  /** Answers all that no operation is under way for. */
  #fail(): void {
    this.#answerAll(this.#collecting.requests, this.#collecting.requests.length, -EIO);
    this.#collecting.clear();
    this.#answerAll(this.#late, this.#late.length, -EIO);
    if (!this.#isSyncing) this.#answerAll(this.#flushes, this.#flushes.length, -EIO);
  }

  #answerAll(line: Line, count: number, result: number): void {
    for (let nth = 0; nth < count; nth++) this.#host.answer(line.at(nth), result);
    line.drop(count);
  }

  /** Releases the batches. */
  end(): void {
    this.#collecting?.memory[Symbol.dispose]();
    if (!this.#isAppending) this.#appending?.memory[Symbol.dispose]();
  }
}

/** Opens the disk over a log that is open. The methods do not write the log. */
export function openLogged({ size, logFd, blockSize, wakeFd }: LoggedOptions) {
  const disk = new Uint8Array(size);
  const engine = new LoggedEngine(disk, logFd, wakeFd);
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
}

/** A disk of `size` bytes with its log in the file at `path`. Its counts are in `path`.json later. */
export function logged(path: string, size: number): BackendSpec {
  return { module: import.meta.url, options: { path, size } };
}

/** Opens the disk. */
export function open(options: unknown): Backend {
  const { path, size } = options as { path: string; size: number };
  const logFd = openFile(path, O_RDWR | O_CREAT, 0o600);
  const wakeFd = eventFd();
  const waker = new Worker(import.meta.resolve("./engine_waker.ts"), { type: "module" });
  waker.postMessage(wakeFd);
  const { backend, engine, end } = openLogged({ size, logFd, wakeFd });
  return {
    ...backend,
    close() {
      waker.terminate();
      end();
      closeFd(wakeFd);
      closeFd(logFd);
      const { appends, syncs, wakes } = engine;
      const counts: Counts = { appends, syncs, wakes };
      Deno.writeTextFileSync(`${path}.json`, JSON.stringify(counts));
    },
  };
}
