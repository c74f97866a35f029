/**
 * The file operations of a volume in a program with an event loop: through a ring of Promises, or
 * one after the other through the port for files where no ring can be had.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import { engineMemory } from "../disk/engine_memory.ts";
import type { EngineMemory } from "../disk/engine.ts";
import { errnoOfFile } from "../files/file_error.ts";
import type { File, Files } from "../files/port.ts";
import { RealFile, realFiles } from "../files/real.ts";
import { ECANCELED, EIO } from "../uapi/errno.ts";
import { assert, isUblkError, UblkError } from "../uapi/error.ts";
import { openRing } from "../uring/open_ring.ts";
import { PROMISE_RING_SETUP, PromiseRing } from "../uring/promise_ring.ts";
import type { RingOperation } from "../uring/ring_operation.ts";
import { prepFsync, prepRead, prepWrite, writeDurably } from "../uring/sqe.ts";

/** Takes the result of an operation: bytes, 0, or a negative errno. Never called at once. */
export type TakeResult = (result: number) => void;

/** File operations that do not make the caller wait. */
export interface FileOperations extends AsyncDisposable {
  /** The number under which operations know an open file. */
  readonly fdOf: (file: File) => number;
  /** Makes memory that operations can use. It is given back with the operations, or earlier. */
  readonly allocate: (bytes: number) => EngineMemory & Disposable;
  /** `pread`. */
  read(
    memory: EngineMemory,
    at: number,
    length: number,
    fd: number,
    offset: number,
    take: TakeResult,
  ): void;
  /** `pwrite`; with `durable`, these bytes are durable once it completes. */
  write(
    memory: EngineMemory,
    at: number,
    length: number,
    fd: number,
    offset: number,
    take: TakeResult,
    durable: boolean,
  ): void;
  /** `fdatasync`. */
  sync(fd: number, take: TakeResult): void;
}

/** The best operations for files: through a ring if the kernel allows one. */
export function fileOperations(files: Files): FileOperations {
  if (files !== realFiles) return new PlainOperations();
  try {
    return new RingOperations();
  } catch (error) {
    // `IO_URING_FORBIDDEN` in many containers, `KERNEL_TOO_OLD`, `MEMORY_LIMIT`.
    if (!isUblkError(error)) throw error;
    return new PlainOperations();
  }
}

/** Memory that is given back at the latest with its owner. */
class Memories implements Disposable {
  readonly #all = new Set<Disposable>();

  allocate(bytes: number): EngineMemory & Disposable {
    const memory = engineMemory(bytes);
    this.#all.add(memory);
    return {
      bytes: memory.bytes,
      address: memory.address,
      [Symbol.dispose]: () => {
        if (this.#all.delete(memory)) memory[Symbol.dispose]();
      },
    };
  }

  [Symbol.dispose](): void {
    for (const memory of this.#all) memory[Symbol.dispose]();
    this.#all.clear();
  }
}

/** Number of SQEs. More operations than that may be under way. */
const RING_ENTRIES = 256;

/** Operations through a ring. */
export class RingOperations implements FileOperations {
  readonly #ring: PromiseRing;
  readonly #memories = new Memories();

  /** Opens a ring. @throws {UblkError} `IO_URING_FORBIDDEN`, `KERNEL_TOO_OLD`, `MEMORY_LIMIT`. */
  constructor() {
    const options = { entries: RING_ENTRIES, setupFlags: PROMISE_RING_SETUP };
    using stack = new DisposableStack();
    this.#ring = stack.use(new PromiseRing(openRing(options).ring));
    this.#ring.listen();
    stack.move();
  }

  readonly fdOf = (file: File): number => {
    assert(file instanceof RealFile && file.fd >= 0, "a ring knows the kernel's open files only");
    return file.fd;
  };

  readonly allocate = (bytes: number): EngineMemory & Disposable => this.#memories.allocate(bytes);

  read(
    memory: EngineMemory,
    at: number,
    length: number,
    fd: number,
    offset: number,
    take: TakeResult,
  ): void {
    const address = memory.address + at;
    this.#submit(take, memory, (ring, id, kind) => {
      return prepRead(ring, fd, address, length, offset, id, kind);
    });
  }

  write(
    memory: EngineMemory,
    at: number,
    length: number,
    fd: number,
    offset: number,
    take: TakeResult,
    durable: boolean,
  ): void {
    const address = memory.address + at;
    this.#submit(take, memory, (ring, id, kind) => {
      const sqe = prepWrite(ring, fd, address, length, offset, id, kind);
      if (durable && sqe >= 0) writeDurably(ring, sqe);
      return sqe;
    });
  }

  sync(fd: number, take: TakeResult): void {
    this.#submit(take, undefined, (ring, id, kind) => prepFsync(ring, fd, true, id, kind));
  }

  #submit(
    take: TakeResult,
    memory: EngineMemory | undefined,
    prepare: RingOperation["prepare"],
  ): void {
    const ended = () => new UblkError("ABORTED", { operation: "I/O of a volume" });
    const operation: RingOperation = { prepare, memory, aborted: ended, closed: ended };
    this.#ring.submit(operation, { givesUp: "never" }).then(take, (error) => {
      take(isUblkError(error) && error.code === "ABORTED" ? -ECANCELED : -EIO);
    });
  }

  /** Gives up what is under way, and closes the ring. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { outstanding } = this.#ring;
    await this.#ring[Symbol.asyncDispose]();
    // The kernel may still write to memory that it has not let go of: that stays.
    if (outstanding === 0 || this.#ring.outstanding === 0) this.#memories[Symbol.dispose]();
  }
}

/** Operations through the port for files, all those of one turn of the event loop at its end. */
export class PlainOperations implements FileOperations {
  readonly #files: File[] = [];
  readonly #memories = new Memories();
  #operations: (() => void)[] = [];

  readonly fdOf = (file: File): number => this.#files.push(file) - 1;

  readonly allocate = (bytes: number): EngineMemory & Disposable => this.#memories.allocate(bytes);

  read(
    { bytes }: EngineMemory,
    at: number,
    length: number,
    fd: number,
    offset: number,
    take: TakeResult,
  ): void {
    const target = bytes.subarray(at, at + length);
    this.#add(take, () => this.#files[fd].readAt(target, offset));
  }

  write(
    { bytes }: EngineMemory,
    at: number,
    length: number,
    fd: number,
    offset: number,
    take: TakeResult,
    durable: boolean,
  ): void {
    const source = bytes.subarray(at, at + length);
    this.#add(take, () => {
      const file = this.#files[fd];
      return durable ? file.writeDurably(source, offset) : file.writeAt(source, offset);
    });
  }

  sync(fd: number, take: TakeResult): void {
    this.#add(take, () => {
      this.#files[fd].sync(true);
      return 0;
    });
  }

  #add(take: TakeResult, perform: () => number): void {
    if (this.#operations.push(() => take(resultOf(perform))) === 1) {
      setImmediate(() => this.#performAll());
    }
  }

  #performAll(): void {
    const operations = this.#operations;
    this.#operations = [];
    for (const operation of operations) operation();
  }

  /** Forgets what is under way. */
  // deno-lint-ignore require-await -- the interface's
  async [Symbol.asyncDispose](): Promise<void> {
    this.#operations = [];
    this.#memories[Symbol.dispose]();
  }
}

function resultOf(perform: () => number): number {
  try {
    return perform();
  } catch (error) {
    // A simulated process that has ended, for example: nothing of it counts any more.
    return -(errnoOfFile(error) ?? EIO);
  }
}
