/**
 * The serving threads of one device: starting, draining and ending them together.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import type { BackendCounters } from "../disk/counters.ts";
import type { RecoveredDevice } from "../disk/load.ts";
import type { BackendSpec } from "../disk/spec.ts";
import { createStatsBuffer, readStats, type Stats, sumStats } from "../queue/stats.ts";
import { assert, UblkError } from "../uapi/error.ts";
import type { Share } from "./assignment.ts";
import type { ThreadLogs } from "./log.ts";
import { type CommonOrder, ThreadHandle } from "./thread_handle.ts";
import type { Opened } from "./serving_thread.ts";

/** Poll interval of a drain that waits for acknowledgements, in milliseconds. */
const DRAIN_POLL_MS = 5;
/** Time the kernel has to tell every thread that the device is gone, in milliseconds. */
const FOLLOW_MS = 500;

/** All threads that serve one device. */
export class Threads {
  /** Resolves when every thread has ended, or with the reason as soon as one has failed. */
  readonly stopped: Promise<UblkError | undefined>;

  readonly #backend: BackendSpec | Backend;
  readonly #logs: ThreadLogs;
  readonly #deadlineMs: number | undefined;
  readonly #handles: ThreadHandle[] = [];
  readonly #stop: (reason: UblkError | undefined) => void;
  /** The counters of each queue, one buffer per thread. */
  readonly #counters: SharedArrayBuffer[][] = [];
  #opened?: Opened;
  #recovered?: RecoveredDevice;
  #serving = 0;
  #following?: ReturnType<typeof setTimeout>;
  #forced = false;

  /**
   * Starts nothing; see {@linkcode open}.
   *
   * @param deadlineMs The time that requests have in milliseconds, for the backend to know.
   */
  constructor(backend: BackendSpec | Backend, logs: ThreadLogs, deadlineMs?: number) {
    this.#backend = backend;
    this.#logs = logs;
    this.#deadlineMs = deadlineMs;
    const { promise, resolve } = Promise.withResolvers<UblkError | undefined>();
    this.stopped = promise;
    this.#stop = resolve;
  }

  /**
   * Opens the backend in the first thread.
   *
   * @param recovered The existing device, passed on to every thread's backend; undefined for a new
   *   one.
   */
  async open(recovered?: RecoveredDevice): Promise<Opened> {
    this.#recovered = recovered;
    this.#opened = await this.#add(0).open(recovered);
    return this.#opened;
  }

  /** The number of threads. */
  get count(): number {
    return this.#handles.length;
  }

  /** Counters by queue. */
  stats(): Stats[] {
    return this.#counters.map((counters) => sumStats(counters.map(readStats)));
  }

  /** The counters that the disk has of its own, if any. */
  get backendCounters(): BackendCounters | undefined {
    return this.#opened?.counters;
  }

  /**
   * Fetches every slot: each thread fetches those of its shares.
   *
   * @param cpus The CPUs for each thread.
   * @param keepDevice Whether the device is to outlive its server.
   */
  async serve(
    common: CommonOrder,
    shares: readonly (readonly Share[])[],
    cpus: readonly (readonly number[])[],
    keepDevice: boolean,
    onStuck: (error: UblkError) => void,
  ): Promise<void> {
    assert(this.#opened !== undefined, "the first thread has opened the backend");
    assert(this.#handles.length === 1, "the others come now");
    assert(
      shares.length > 0 && shares.every((list) => list.length > 0),
      "each has something to do",
    );
    assert(cpus.length === shares.length, "each has its CPUs");
    const { shared, traits } = this.#opened;
    const others = shares.slice(1).map(([first]) => this.#add(first.queue));
    await Promise.all(others.map(async (handle, index) => {
      const opened = await handle.open(this.#recovered, { value: shared });
      checkAlike(opened.traits, traits, index + 1);
    }));
    this.#serving = this.#handles.length;
    const start = async (thread: number) => {
      const handle = this.#handles[thread];
      const queues = shares[thread].map((share) => ({ ...share, stats: this.#counter(share) }));
      await handle.serve(common, queues, cpus[thread]);
      handle.ended().then((reason) => {
        if (reason !== undefined) this.#stop(reason);
        clearTimeout(this.#following);
        assert(this.#serving > 0, "a thread ends once");
        if (--this.#serving === 0) this.#stop(undefined);
        else this.#followSoon();
      });
      await handle.watch(common, keepDevice, onStuck);
    };
    // Start the threads that prepare tags before the threads that share their queues: a device under
    // recovery refuses another thread's FETCH until all tags are prepared (`ublk_batch_attach`).
    const threads = [...shares.keys()];
    const prepares = (thread: number) => shares[thread].some(({ prepare }) => prepare);
    await Promise.all(threads.filter(prepares).map(start));
    await Promise.all(threads.filter((thread) => !prepares(thread)).map(start));
  }

  /**
   * Called when one thread has found the device gone. After QUIESCE_DEV the kernel does not tell a
   * thread all of whose slots had a request at that time, so tell the others from here.
   */
  #followSoon(): void {
    this.#following = setTimeout(() => {
      for (const handle of this.#handles) handle.leave();
    }, FOLLOW_MS);
  }

  #add(queue: number): ThreadHandle {
    const log = this.#logs.add();
    const index = this.#handles.length;
    const handle = new ThreadHandle(this.#backend, index, queue, log, this.#deadlineMs);
    this.#handles.push(handle);
    return handle;
  }

  /** The counters of one thread for one queue. Counters have one writer. */
  #counter({ queue }: Share): SharedArrayBuffer {
    const buffer = createStatsBuffer();
    (this.#counters[queue] ??= []).push(buffer);
    return buffer;
  }

  /** Whether every thread has made progress since the last call, or is idle. */
  responsive(): boolean {
    // Ask all of them: each compares with its own last call.
    return this.#handles.filter((handle) => !handle.responsive).length === 0;
  }

  /**
   * Resizes the backend of every thread.
   *
   * @throws {UblkError} The first error, once all threads have answered.
   */
  async resize(bytes: number, limitMs: number): Promise<void> {
    const all = this.#handles.map((handle) => handle.resize(bytes, limitMs));
    const failed = (await Promise.allSettled(all)).find(({ status }) => status === "rejected");
    if (failed !== undefined) throw (failed as PromiseRejectedResult).reason;
  }

  /**
   * Tells every thread to answer soon what it holds. Resolves once each has acknowledged, which
   * shows that none is stuck.
   */
  async drain(signal: AbortSignal): Promise<void> {
    for (const handle of this.#handles) handle.drain();
    while (!this.#handles.every((handle) => handle.listens) && !signal.aborted) {
      await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
    }
  }

  /** Whether a thread was left behind, still running. It may touch whatever it was given. */
  get forced(): boolean {
    return this.#forced || this.#handles.some((handle) => handle.forced);
  }

  /** Ends every thread's service now, by force if a thread does not listen. */
  async abandon(graceMs: number): Promise<void> {
    await Promise.all(this.#handles.map((handle) => handle.abandon(graceMs)));
  }

  /**
   * Closes the backends and ends the threads. The first thread goes last, because it owns what they
   * share.
   *
   * @throws {unknown} The first error of a backend's `close`, once all are closed.
   */
  async close(graceMs: number): Promise<void> {
    clearTimeout(this.#following);
    const [first, ...others] = this.#handles.splice(0);
    if (first === undefined) return;
    const results = await Promise.allSettled(others.map((handle) => handle.close(graceMs)));
    // An abandoned thread may still use what they share.
    const inUse = [first, ...others].some((handle) => handle.forced);
    this.#forced ||= inUse;
    results.push(...await Promise.allSettled([first.close(graceMs, !inUse)]));
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }
}

function checkAlike(traits: Opened["traits"], first: Opened["traits"], thread: number): void {
  for (const key of Object.keys(first) as (keyof Opened["traits"])[]) {
    if (JSON.stringify(traits[key]) === JSON.stringify(first[key])) continue;
    throw new UblkError("BACKEND_SHAPE", {
      operation: "open the backend",
      reason: `its ${key} is ${traits[key]} in thread ${thread}, ${first[key]} in thread 0`,
      hint: 'a "per-queue" backend must open alike in every thread',
    });
  }
}
