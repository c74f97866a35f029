/**
 * A disk in memory that a test can see into: its contents and its counters are shared memory which
 * the test made, so it may run in a Worker, in a Worker per queue, or in the test's own thread.
 *
 * @module
 */

import type { Backend, BackendModule, Sharing } from "../../disk/backend.ts";
import type { BackendSpec } from "../../disk/spec.ts";

/** The counters, in the order of their places in {@linkcode Watched.counters}. */
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

/** One of the counters. `writesAtFlush` is how many writes there had been at the last flush. */
export type Counter = typeof NAMES[number];

/** What a test makes and the backend fills. */
export interface Watched {
  /** The disk. */
  readonly contents: SharedArrayBuffer;
  /** The counters: see {@linkcode count}. */
  readonly counters: SharedArrayBuffer;
}

/** What the disk is to be and to have. */
export interface Manner {
  /** `"sync"`: blocks its thread. `"plain"`: an event loop, no Promises. `"async"`: Promises. */
  readonly style?: "sync" | "plain" | "async";
  /** Logical block size. */
  readonly blockSize?: number;
  /** The optional methods, separated by blanks; all where left out. */
  readonly methods?: string;
  /** Throw instead of opening, from this queue on. */
  readonly failFromQueue?: number;
}

/** Shared memory for a disk of that size. */
export function watched(size: number): Watched {
  return {
    contents: new SharedArrayBuffer(size),
    counters: new SharedArrayBuffer(NAMES.length * 4),
  };
}

/** A counter's value. */
export function count(disk: Watched, name: Counter): number {
  return Atomics.load(new Int32Array(disk.counters), NAMES.indexOf(name));
}

/** Such a disk, for Workers. */
export function counting(disk: Watched, sharing: Sharing, manner: Manner = {}): BackendSpec {
  const name = sharing === "single" ? "single" : "perQueue";
  return { module: import.meta.url, export: name, options: { ...disk, ...manner } };
}

/** The module contract, with one thread for all queues. */
export const single: BackendModule = { open };
/** The module contract, with one thread for each queue. */
export const perQueue: BackendModule = { open, sharing: "per-queue" };

/** Opens it. */
export function open(options: unknown, { queue }: { queue: number } = { queue: 0 }): Backend {
  const disk = options as Watched & Manner;
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
