/**
 * A disk in memory that a test can inspect. Its contents and counters are shared memory created by the
 * test, so it may run in a Worker, in a Worker per queue, or in the test's thread.
 *
 * @module
 */

import type { Backend, BackendModule, Sharing } from "../../disk/backend.ts";
import type { BackendSpec } from "../../disk/spec.ts";

/** The counters, in the order of {@linkcode Watched.counters}. */
const NAMES = [
  "reads",
  "writes",
  "fuaWrites",
  "flushes",
  "writesAtFlush",
  "trims",
  "zeroesMayUnmap",
  "zeroesNoUnmap",
  "largest",
  "unaligned",
  "opens",
  "closes",
] as const;

/** The name of a counter. `writesAtFlush` is the number of writes before the last flush. */
export type Counter = typeof NAMES[number];

/** Memory that a test creates and the backend fills. */
export interface Watched {
  /** The contents of the disk. */
  readonly contents: SharedArrayBuffer;
  /** The counters: see {@linkcode count}. */
  readonly counters: SharedArrayBuffer;
}

/** Properties of the disk. */
export interface CountingOptions {
  /** `"sync"`: blocks its thread. `"plain"`: an event loop, no Promises. `"async"`: Promises. */
  readonly style?: "sync" | "plain" | "async";
  /** Logical block size. */
  readonly blockSize?: number;
  /**
   * The optional methods, separated by blanks.
   *
   * @default All of them
   */
  readonly methods?: string;
  /** Throw instead of opening, from this queue on. */
  readonly failFromQueue?: number;
}

/** Creates the shared memory for a disk of this size. */
export function watched(size: number): Watched {
  return {
    contents: new SharedArrayBuffer(size),
    counters: new SharedArrayBuffer(NAMES.length * 4),
  };
}

/** The value of a counter. */
export function count(disk: Watched, name: Counter): number {
  return Atomics.load(new Int32Array(disk.counters), NAMES.indexOf(name));
}

/** The specification of such a disk, for Workers. */
export function counting(
  disk: Watched,
  sharing: Sharing,
  options: CountingOptions = {},
): BackendSpec {
  const name = sharing === "single" ? "single" : "perQueue";
  return { module: import.meta.url, export: name, options: { ...disk, ...options } };
}

/** The module with one thread for all queues. */
export const single: BackendModule = { open };
/** The module with one thread per queue. */
export const perQueue: BackendModule = { open, sharing: "per-queue" };

/** Opens the disk. */
export function open(options: unknown, { queue }: { queue: number } = { queue: 0 }): Backend {
  const disk = options as Watched & CountingOptions;
  if (queue >= (disk.failFromQueue ?? Infinity)) throw new Error(`queue ${queue} fails on purpose`);
  const { style = "sync", blockSize = 512, methods = "flush fua trim writeZeroes" } = disk;
  const bytes = new Uint8Array(disk.contents);
  const words = new Int32Array(disk.counters);
  const add = (name: Counter) => Atomics.add(words, NAMES.indexOf(name), 1);
  const answer = (work: () => void): void | Promise<void> => {
    if (style !== "async") return work();
    return new Promise((resolve) => setTimeout(() => resolve(work()), 0));
  };
  const see = (offset: number, length: number) => {
    const largest = NAMES.indexOf("largest");
    if (length > words[largest]) words[largest] = length;
    if (offset % blockSize !== 0 || length % blockSize !== 0) add("unaligned");
  };
  add("opens");
  const whole: Required<Pick<Backend, "flush" | "trim" | "writeZeroes">> = {
    flush: () =>
      answer(() => {
        Atomics.store(words, NAMES.indexOf("writesAtFlush"), count(disk, "writes"));
        add("flushes");
      }),
    trim: (offset, length) =>
      answer(() => {
        add("trims");
        bytes.fill(0, offset, offset + length);
      }),
    writeZeroes: (offset, length, { mayUnmap }) =>
      answer(() => {
        add(mayUnmap ? "zeroesMayUnmap" : "zeroesNoUnmap");
        bytes.fill(0, offset, offset + length);
      }),
  };
  const has = (name: string) => methods.split(" ").includes(name);
  return {
    size: bytes.length,
    blockSize,
    synchronous: style === "sync",
    fua: has("fua"),
    readAt: (buffer, offset) =>
      answer(() => {
        see(offset, buffer.length);
        add("reads");
        buffer.set(bytes.subarray(offset, offset + buffer.length));
      }),
    writeAt: (buffer, offset, { fua }) =>
      answer(() => {
        see(offset, buffer.length);
        if (fua) add("fuaWrites");
        bytes.set(buffer, offset);
        add("writes");
      }),
    ...(has("flush") ? { flush: whole.flush } : {}),
    ...(has("trim") ? { trim: whole.trim } : {}),
    ...(has("writeZeroes") ? { writeZeroes: whole.writeZeroes } : {}),
    close: () => void add("closes"),
  };
}
