/**
 * A mock disk in memory that records its calls and fails on demand. For the tests of this project
 * and of programs built on it.
 *
 * @module
 */

import type { Answer, Backend, BackendModule, Sharing } from "./backend.ts";
import { geometryOf, type Size } from "./geometry.ts";
import { type MockCall, MockCalls } from "./mock_calls.ts";
import { mockError, type MockFault, MockFaults } from "./mock_faults.ts";
import type { BackendSpec } from "./spec.ts";

/** The byte that the `"keep"` fault writes into a buffer. */
export const SCRIBBLE = 0xee;

/** Options of a mock backend. */
export interface MockOptions {
  /**
   * Size of the disk.
   *
   * @default "16MiB"
   */
  readonly size?: Size;
  /**
   * Size of a logical block in bytes: 512, 1024, 2048 or 4096.
   *
   * @default 512
   */
  readonly blockSize?: number;
  /**
   * Make the disk read-only: the kernel refuses writes.
   *
   * @default false
   */
  readonly readOnly?: boolean;
  /**
   * Provide `flush`.
   *
   * @default true
   */
  readonly flush?: boolean;
  /**
   * Honour FUA.
   *
   * @default true
   */
  readonly fua?: boolean;
  /**
   * Provide `trim`, which zeroes the range.
   *
   * @default true
   */
  readonly trim?: boolean;
  /**
   * Provide `writeZeroes`.
   *
   * @default true
   */
  readonly writeZeroes?: boolean;
  /**
   * Declare the backend `synchronous`. Without a fault it never returns a Promise anyway.
   *
   * @default false
   */
  readonly synchronous?: boolean;
  /**
   * The faults to inject.
   *
   * @default None
   */
  readonly faults?: readonly MockFault[];
  /**
   * Seed of the random draws.
   *
   * @default 1
   */
  readonly seed?: number;
  /**
   * The record for its calls.
   *
   * @default A new record
   */
  readonly calls?: MockCalls;
  /**
   * Memory for the contents, at least `size` bytes.
   *
   * @default New memory
   */
  readonly contents?: SharedArrayBuffer;
}

/** Options of {@linkcode mockSpec}. */
export interface MockSpecOptions extends MockOptions {
  /**
   * Whether one thread owns the backend, or each queue's thread opens it.
   *
   * @default "single"
   */
  readonly sharing?: Sharing;
}

/** A mock backend with its calls and contents, for inspection by tests. */
export interface MockBackend extends Backend {
  /** The calls so far. */
  readonly calls: MockCalls;
  /** The disk's bytes. */
  readonly contents: Uint8Array<SharedArrayBuffer>;
}

/**
 * Makes a mock backend, for `serve()` in this thread or for tests that call its methods directly.
 *
 * @throws {RangeError} If the size, the block size or the name of an errno is invalid.
 *
 * @example A full disk
 * ```ts
 * import { mockBackend } from "@ublk/ublk/testing";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * const disk = mockBackend({ faults: [{ op: "writeAt", effect: "throw", errno: "ENOSPC" }] });
 * assertThrows(() => disk.writeAt(new Uint8Array(512), 0, { fua: true }), Error, "ENOSPC");
 * assertEquals(disk.calls.list()[0].fua, true);
 * ```
 */
export function mockBackend(options: MockOptions = {}): MockBackend {
  const { size = "16MiB", blockSize, readOnly } = options;
  const geometry = geometryOf({ size, blockSize, readOnly });
  const memory = options.contents ?? new SharedArrayBuffer(geometry.size);
  const contents = new Uint8Array(memory, 0, geometry.size);
  const calls = options.calls ?? new MockCalls();
  const faults = new MockFaults(options.faults ?? [], options.seed ?? 1);
  const caller = new Caller(calls, faults);
  const call = (call: Partial<MockCall> & Pick<MockCall, "op">, work: () => void, buffer = NONE) =>
    caller.call({ offset: 0, length: 0, fua: false, mayUnmap: false, ...call }, work, buffer);
  const zero = (offset: number, length: number) => () =>
    void contents.fill(0, offset, offset + length);
  const has = (enabled: boolean | undefined) => enabled !== false;
  return {
    ...geometry,
    ...{ calls, contents, synchronous: options.synchronous === true, fua: has(options.fua) },
    readAt: (buffer, offset) =>
      call(
        { op: "readAt", offset, length: buffer.length },
        () => buffer.set(contents.subarray(offset, offset + buffer.length)),
        buffer,
      ),
    writeAt: (buffer, offset, { fua }) =>
      call(
        { op: "writeAt", offset, length: buffer.length, fua },
        () => contents.set(buffer, offset),
        buffer,
      ),
    flush: has(options.flush) ? () => call({ op: "flush" }, () => {}) : undefined,
    trim: has(options.trim)
      ? (offset, length) => call({ op: "trim", offset, length }, zero(offset, length))
      : undefined,
    writeZeroes: has(options.writeZeroes)
      ? (offset, length, { mayUnmap }) =>
        call({ op: "writeZeroes", offset, length, mayUnmap }, zero(offset, length))
      : undefined,
    close: () => call({ op: "close" }, () => {}),
  };
}

const NONE = new Uint8Array(0);

/** Records calls, and applies their faults. */
class Caller {
  readonly #calls: MockCalls;
  readonly #faults: MockFaults;
  #kept: Uint8Array[] = [];

  constructor(calls: MockCalls, faults: MockFaults) {
    this.#calls = calls;
    this.#faults = faults;
  }

  call(call: MockCall, work: () => void, buffer: Uint8Array): Answer {
    this.#calls.add(call);
    for (const kept of this.#kept.splice(0)) kept.fill(SCRIBBLE);
    const fault = this.#faults.pick(call);
    switch (fault?.effect) {
      case undefined:
        return work();
      case "throw":
        throw mockError(fault);
      case "reject":
        return Promise.reject(mockError(fault));
      case "never":
        return new Promise(() => {});
      case "late":
        return this.#late(fault, work);
      case "short":
        work();
        return call.length - 1 as unknown as void;
      case "twice":
        work();
        return new TwiceSettled() as unknown as Promise<void>;
      case "keep":
        this.#kept.push(buffer);
        return work();
      case "loop": {
        const end = fault.delayMs === undefined ? Infinity : this.#faults.delayMs(fault);
        for (const start = performance.now(); performance.now() - start < end;);
        return work();
      }
    }
  }

  #late(fault: MockFault, work: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      setTimeout(() => {
        if (fault.errno !== undefined) return reject(mockError(fault));
        work();
        resolve();
      }, this.#faults.delayMs(fault));
    });
  }
}

/** A thenable that breaks every rule. */
class TwiceSettled {
  then(resolve: () => void, reject?: (reason: Error) => void): void {
    resolve();
    resolve();
    const error = new Error("settled before");
    reject?.(error);
    throw error;
  }
}

/** The options in the form that is sent to a Worker. */
type StoredOptions = Omit<MockOptions, "calls"> & { readonly calls: SharedArrayBuffer };

/**
 * Makes the specification of a mock backend, for `serve()` in Workers. All threads share the same
 * bytes and record to the same `calls`, which the test can read. Each thread counts `nth` and draws
 * from `seed` on its own.
 *
 * @throws {RangeError} If the size, the block size or the name of an errno is invalid.
 *
 * @example Counting the calls of a backend in another thread
 * ```ts
 * import { MockCalls, mockSpec } from "@ublk/ublk/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const calls = new MockCalls();
 * const backend = mockSpec({ size: "64MiB", calls, sharing: "per-queue" });
 * // await using device = await serve({ backend, queues: 4 });
 * assertEquals(calls.count("flush"), 0);
 * assertEquals(backend.export, "perQueue");
 * ```
 */
export function mockSpec(options: MockSpecOptions = {}): BackendSpec {
  const { sharing, calls = new MockCalls(), ...rest } = options;
  // Make the backend here, to allocate the memory that all threads share and to check the options.
  const contents = mockBackend(options).contents.buffer;
  const stored: StoredOptions = { ...rest, contents, calls: calls.buffer };
  const name = sharing === "per-queue" ? "perQueue" : "single";
  return { module: import.meta.url, export: name, options: stored };
}

function open(options: unknown): Backend {
  const { calls, ...rest } = options as StoredOptions;
  return mockBackend({ ...rest, calls: new MockCalls(calls) });
}

/** The backend module of a {@linkcode mockSpec} that one thread owns. */
export const single: BackendModule = { sharing: "single", open };
/** The backend module of a {@linkcode mockSpec} that each queue's thread opens. */
export const perQueue: BackendModule = { sharing: "per-queue", open };
