/**
 * Promise-based file I/O, through the thread's own io_uring instead of Deno's thread pool.
 *
 * The pool has 32 threads for all files, and each operation there is a hop to one and back.
 * And Deno has no read at an offset: it takes two operations, which share the file's position.
 *
 * @module
 */

import { EINTR, EINVAL } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { BouncePool } from "./bounce.ts";
import { syscallError } from "./libc.ts";
import { placeOf } from "./mapping.ts";
import { openRing } from "./open_ring.ts";
import { PROMISE_RING_SETUP, PromiseRing } from "./promise_ring.ts";
import type { Ring } from "./ring.ts";
import type { RingOperation } from "./ring_operation.ts";
import { prepFallocate, prepFsync, prepRead, prepWrite } from "./sqe.ts";

/** Options of every operation of {@linkcode RingFiles}. */
export interface RingFileOptions {
  /**
   * Asks the kernel to cancel the operation. The Promise rejects with `ABORTED` once the kernel has
   * cancelled it. An operation that finishes before that resolves as usual.
   */
  readonly signal?: AbortSignal;
}

/** Options of {@linkcode RingFiles.fsync}. */
export interface RingSyncOptions extends RingFileOptions {
  /**
   * Sync like `fdatasync(2)`: only the metadata that is needed to read the data again.
   *
   * @default false
   */
  readonly dataOnly?: boolean;
}

/**
 * Reads and writes files through io_uring without blocking the thread. Any number of operations may
 * be in flight. They complete in any order.
 *
 * A descriptor is a number, as returned by `openSync` of `node:fs`. It must stay open until the
 * Promise has settled.
 *
 * **Buffers are lent** until the Promise has settled. It settles only after the kernel has released
 * the buffer, whatever signals, deadlines and errors occur in the meantime. The buffers of a
 * backend's requests are memory outside JavaScript's heap, and are used in place. All other buffers
 * are copied once.
 *
 * **Errors:** every method rejects with a `UblkError`. Its code is `SYSCALL_FAILED`, with the
 * kernel's `errno`; `INVALID_ARGUMENT` for impossible arguments; `ABORTED` after the signal, or
 * once the ring is closed; or `IO_URING_FORBIDDEN`, `KERNEL_TOO_OLD` or `MEMORY_LIMIT` if no ring
 * can be opened.
 */
export interface RingFiles {
  /**
   * `pread(2)`: reads into `buffer` from byte `offset` of a file.
   *
   * @returns The number of bytes read; 0 at the end of the file. It may be less than requested;
   *   then read the rest with another call.
   */
  read(
    fd: number,
    buffer: Uint8Array<ArrayBuffer>,
    offset: number,
    options?: RingFileOptions,
  ): Promise<number>;
  /**
   * `pwrite(2)`: writes `buffer` to byte `offset` of a file.
   *
   * @returns The number of bytes written. It may be less than requested; then write the rest with
   *   another call.
   */
  write(
    fd: number,
    buffer: Uint8Array<ArrayBuffer>,
    offset: number,
    options?: RingFileOptions,
  ): Promise<number>;
  /** `fsync(2)`: makes all writes durable whose Promises settled before this call. */
  fsync(fd: number, options?: RingSyncOptions): Promise<void>;
  /**
   * `fallocate(2)`: changes the allocation of a range.
   *
   * @param mode `FALLOC_FL_*`; 0 preallocates.
   * @param offset Bytes from the start of the file.
   * @param length Length of the range in bytes.
   */
  fallocate(
    fd: number,
    mode: number,
    offset: number,
    length: number,
    options?: RingFileOptions,
  ): Promise<void>;
}

/** Number of SQEs of the ring. More operations than that may be in flight. */
const RING_ENTRIES = 256;

/** Maximum length of a transfer in bytes: `MAX_RW_COUNT` for 64 KiB pages. Longer ones are cut. */
const MAX_BYTES = 0x7fff_0000;

/** Fills the SQE of a transfer. */
type PrepTransfer = typeof prepRead;

/** The memory that the kernel reads or writes, held until the operation is done. */
interface Lent extends Disposable {
  readonly address: number;
  /** The bounce buffer, if the bytes are copied. */
  readonly bytes?: Uint8Array<ArrayBuffer>;
}

/**
 * Creates a {@linkcode RingFiles} for a backend that is an object in this thread. A backend module
 * finds one in its context, as `ring`. Nothing is opened before the first operation. Close the
 * device before disposing of the files: disposal cancels operations in flight, and takes at most a
 * second.
 */
export function ringFiles(): RingFiles & AsyncDisposable {
  return ringFilesOver(() => {
    return openRing({ entries: RING_ENTRIES, setupFlags: PROMISE_RING_SETUP }).ring;
  });
}

/** Like {@linkcode ringFiles}, with a custom ring, which is made at the first operation. */
export function ringFilesOver(makeRing: () => Ring): RingFiles & AsyncDisposable {
  return new OwnRingFiles(makeRing);
}

class OwnRingFiles implements RingFiles, AsyncDisposable {
  readonly #makeRing: () => Ring;
  #ring: PromiseRing | undefined;
  readonly #pool = new BouncePool();
  #closed = false;

  constructor(makeRing: () => Ring) {
    this.#makeRing = makeRing;
  }

  read(
    fd: number,
    buffer: Uint8Array<ArrayBuffer>,
    offset: number,
    options?: RingFileOptions,
  ): Promise<number> {
    return this.#transfer("read", prepRead, fd, buffer, offset, options);
  }

  write(
    fd: number,
    buffer: Uint8Array<ArrayBuffer>,
    offset: number,
    options?: RingFileOptions,
  ): Promise<number> {
    return this.#transfer("write", prepWrite, fd, buffer, offset, options);
  }

  async fsync(fd: number, options: RingSyncOptions = {}): Promise<void> {
    const { dataOnly = false } = options;
    const name = `${dataOnly ? "fdatasync" : "fsync"} of descriptor ${fd}`;
    checkDescriptor(name, fd);
    await this.#run(name, options, undefined, (ring, id, kind) => {
      return prepFsync(ring, fd, dataOnly, id, kind);
    });
  }

  async fallocate(
    fd: number,
    mode: number,
    offset: number,
    length: number,
    options?: RingFileOptions,
  ): Promise<void> {
    const name = `fallocate of descriptor ${fd}`;
    checkDescriptor(name, fd);
    checkNumber(name, "mode", mode, 0xffff_ffff);
    checkNumber(name, "offset", offset);
    checkNumber(name, "length", length);
    await this.#run(name, options, undefined, (ring, id, kind) => {
      return prepFallocate(ring, fd, mode, offset, length, id, kind);
    });
  }

  async #transfer(
    verb: "read" | "write",
    prep: PrepTransfer,
    fd: number,
    buffer: Uint8Array<ArrayBuffer>,
    offset: number,
    options?: RingFileOptions,
  ): Promise<number> {
    const name = `${verb} ${verb === "read" ? "from" : "to"} descriptor ${fd}`;
    checkDescriptor(name, fd);
    checkNumber(name, "offset", offset);
    const length = Math.min(buffer.length, MAX_BYTES);
    // If the Promise below never settles, this is never released: the table in flight holds it.
    using lent = this.#lend(buffer, length);
    if (verb === "write") lent.bytes?.set(buffer.subarray(0, length));
    const count = await this.#run(name, options, lent, (ring, id, kind) => {
      return prep(ring, fd, lent.address, length, offset, id, kind);
    });
    if (verb === "read" && lent.bytes !== undefined) buffer.set(lent.bytes.subarray(0, count));
    return count;
  }

  /** Lends the buffer itself and keeps it mapped, or lends a bounce buffer for it. */
  #lend(buffer: Uint8Array<ArrayBuffer>, length: number): Lent {
    const place = placeOf(buffer);
    if (place !== undefined) {
      const held = place.mapping.hold();
      return { address: place.address, [Symbol.dispose]: () => held[Symbol.dispose]() };
    }
    const bounce = this.#pool.take(length);
    const { address, bytes } = bounce;
    return { address, bytes, [Symbol.dispose]: () => this.#pool.give(bounce) };
  }

  /** Runs one operation, and retries if a signal interrupted it. Rejects if it fails. */
  async #run(
    name: string,
    options: RingFileOptions | undefined,
    memory: Lent | undefined,
    prepare: RingOperation["prepare"],
  ): Promise<number> {
    const operation: RingOperation = {
      prepare,
      memory,
      aborted: (cause) => abortedError(name, cause),
      closed: () => closedError(name),
    };
    for (;;) {
      const terms = { signal: options?.signal, givesUp: "never" } as const;
      const result = await this.#open(name).submit(operation, terms);
      if (result === -EINTR) continue;
      if (result < 0) throw syscallError(name, undefined, -result);
      return result;
    }
  }

  #open(name: string): PromiseRing {
    if (this.#closed) throw closedError(name);
    if (this.#ring !== undefined) return this.#ring;
    using stack = new DisposableStack();
    const ring = stack.use(new PromiseRing(this.#makeRing()));
    // Prepare for waiting now, so that no operation starts whose end cannot be awaited.
    ring.listen();
    stack.move();
    return this.#ring = ring;
  }

  /**
   * Cancels operations in flight and closes the ring, within a second. An operation that the kernel
   * has not released by then never settles, and its memory is never reused.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.#ring?.[Symbol.asyncDispose]();
    this.#pool[Symbol.dispose]();
  }
}

function abortedError(operation: string, cause: unknown): UblkError {
  return new UblkError("ABORTED", { operation, reason: "the caller gave it up", cause });
}

function closedError(operation: string): UblkError {
  return new UblkError("ABORTED", { operation, reason: "the ring was closed" });
}

function checkDescriptor(operation: string, fd: number): void {
  checkNumber(operation, "descriptor", fd, 0x7fff_ffff);
}

function checkNumber(
  operation: string,
  what: string,
  value: number,
  most: number = Number.MAX_SAFE_INTEGER,
): void {
  if (Number.isInteger(value) && value >= 0 && value <= most) return;
  throw new UblkError("INVALID_ARGUMENT", {
    operation,
    reason: `the ${what} ${value} is not a whole number from 0 to ${most}`,
    errno: EINVAL,
  });
}
