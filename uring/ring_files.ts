/**
 * Files by Promises, through a ring of the thread instead of Deno's thread pool.
 *
 * The pool has 32 threads for all of the process, and each operation there is a hop to one and
 * back; and Deno has no read at an offset, so that it takes two of them and one file's position.
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

/** The options of every operation of {@linkcode RingFiles}. */
export interface RingFileOptions {
  /**
   * Asks the kernel to cancel the operation. The Promise rejects with `ABORTED` once the kernel has
   * done so; an operation that was done before then resolves as ever.
   */
  readonly signal?: AbortSignal;
}

/** The options of {@linkcode RingFiles.fsync}. */
export interface RingSyncOptions extends RingFileOptions {
  /**
   * As `fdatasync(2)`: of the file's metadata only what reading its data again needs.
   *
   * @default {false}
   */
  readonly dataOnly?: boolean;
}

/**
 * Reads and writes files without blocking the thread, through io_uring. As many operations as you
 * like may be under way, and they are done in any order.
 *
 * A descriptor is a number of the process, such as `openSync` of `node:fs` returns. It must stay
 * open until the Promise has settled.
 *
 * **A buffer is lent** until the Promise has settled, which is not before the kernel has let go of
 * it, whatever signals, deadlines and errors there are meanwhile. The buffers of a backend's
 * requests, which are memory outside of JavaScript's heap, are read and written in place; any other
 * is copied on the way, once.
 *
 * Every method rejects with a `UblkError`: `SYSCALL_FAILED` with the kernel's `errno`,
 * `INVALID_ARGUMENT` for what cannot be meant, `ABORTED` by the signal or once the ring is closed,
 * and `IO_URING_FORBIDDEN`, `KERNEL_TOO_OLD` or `MEMORY_LIMIT` where there can be no ring.
 */
export interface RingFiles {
  /**
   * `pread(2)`: reads from byte `offset` of a file into the beginning of `buffer`.
   *
   * @returns The number of bytes, which may be less than asked for: 0 at the end of the file, and
   *   otherwise what there was. The rest takes another read.
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
   * @returns The number of bytes, which may be less than asked for. The rest takes another write.
   */
  write(
    fd: number,
    buffer: Uint8Array<ArrayBuffer>,
    offset: number,
    options?: RingFileOptions,
  ): Promise<number>;
  /** `fsync(2)`: makes durable what writes have done that were settled before this was called. */
  fsync(fd: number, options?: RingSyncOptions): Promise<void>;
  /**
   * `fallocate(2)`.
   *
   * @param mode `FALLOC_FL_*`; 0 preallocates.
   * @param offset Bytes from the start of the file.
   * @param length Bytes.
   */
  fallocate(
    fd: number,
    mode: number,
    offset: number,
    length: number,
    options?: RingFileOptions,
  ): Promise<void>;
}

/** SQEs of the ring. More than that may be under way. */
const RING_ENTRIES = 256;

/** The most bytes of one operation (`MAX_RW_COUNT` for pages of 64 KiB): what is longer is short. */
const MAX_BYTES = 0x7fff_0000;

/** Fills the SQE of a transfer. */
type PrepTransfer = typeof prepRead;

/** The memory that the kernel reads or writes, which is held until the operation is done. */
interface Lent extends Disposable {
  readonly address: number;
  /** The stand-in, where the bytes are copied. */
  readonly bytes?: Uint8Array<ArrayBuffer>;
}

/**
 * Creates a {@linkcode RingFiles} for a backend that is an object of this thread; a module has one
 * in its context, as `ring`. Nothing is opened before the first operation. Close the device first:
 * disposing of this cancels what is under way, and takes a second at most.
 */
export function ringFiles(): RingFiles & AsyncDisposable {
  return ringFilesOver(() => {
    return openRing({ entries: RING_ENTRIES, setupFlags: PROMISE_RING_SETUP }).ring;
  });
}

/** {@linkcode ringFiles} over a ring that is made with the first operation. */
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
    // Not released if the Promise below never settles: the table of what is in flight holds it.
    using lent = this.#lend(buffer, length);
    if (verb === "write") lent.bytes?.set(buffer.subarray(0, length));
    const count = await this.#run(name, options, lent, (ring, id, kind) => {
      return prep(ring, fd, lent.address, length, offset, id, kind);
    });
    if (verb === "read" && lent.bytes !== undefined) buffer.set(lent.bytes.subarray(0, count));
    return count;
  }

  /** Lends a buffer in place, kept mapped meanwhile, or a stand-in for it. */
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

  /** Does one operation, again if a signal interrupted it, and rejects where it failed. */
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
    // Now, so that no operation is under way whose end cannot be waited for.
    ring.listen();
    stack.move();
    return this.#ring = ring;
  }

  /**
   * Cancels what is under way and closes the ring, after a second at the latest. What the kernel
   * has not let go of by then never settles, and its memory is never used again.
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
