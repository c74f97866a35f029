/**
 * The serving threads of one device, together: starting them, draining them, ending them.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import type { RecoveredDevice } from "../disk/load.ts";
import type { BackendSpec } from "../disk/spec.ts";
import { createStatsBuffer, readStats, type Stats, sumStats } from "../queue/stats.ts";
import { assert, UblkError } from "../uapi/error.ts";
import type { Share } from "./assignment.ts";
import type { ThreadLogs } from "./log.ts";
import { type CommonOrder, Member } from "./member.ts";
import type { Opened } from "./serving_thread.ts";

/** How often a drain looks whether its order has been seen. */
const DRAIN_POLL_MS = 5;
/** How long the kernel gets to tell every thread that the device is gone, in milliseconds. */
const FOLLOW_MS = 500;

/** All threads that serve one device. */
export class Threads {
  /** Resolves when every thread's service has ended, or with the reason as soon as one failed. */
  readonly stopped: Promise<UblkError | undefined>;

  readonly #backend: BackendSpec | Backend;
  readonly #logs: ThreadLogs;
  readonly #members: Member[] = [];
  readonly #stop: (reason: UblkError | undefined) => void;
  /** Where each queue's threads count. */
  readonly #counters: SharedArrayBuffer[][] = [];
  #opened?: Opened;
  #recovered?: RecoveredDevice;
  #serving = 0;
  #following?: ReturnType<typeof setTimeout>;
  #forced = false;

  /** Nothing runs yet: see {@linkcode open}. */
  constructor(backend: BackendSpec | Backend, logs: ThreadLogs) {
    this.#backend = backend;
    this.#logs = logs;
    const { promise, resolve } = Promise.withResolvers<UblkError | undefined>();
    this.stopped = promise;
    this.#stop = resolve;
  }

  /**
   * Opens the backend in the first thread, and tells what it is.
   *
   * @param recovered The device that is there already, of which every thread's backend is told;
   *   undefined for a new one.
   */
  async open(recovered?: RecoveredDevice): Promise<Opened> {
    this.#recovered = recovered;
    this.#opened = await this.#add(0).open(recovered);
    return this.#opened;
  }

  /** How many there are. */
  get count(): number {
    return this.#members.length;
  }

  /** What has been done so far, by queue. */
  stats(): Stats[] {
    return this.#counters.map((counters) => sumStats(counters.map(readStats)));
  }

  /**
   * Hands every slot to the kernel: each thread those of its shares.
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
    assert(this.#members.length === 1, "the others come now");
    assert(
      shares.length > 0 && shares.every((list) => list.length > 0),
      "each has something to do",
    );
    assert(cpus.length === shares.length, "each has its CPUs");
    const { shared, traits } = this.#opened;
    const others = shares.slice(1).map(([first]) => this.#add(first.queue));
    await Promise.all(others.map(async (member, index) => {
      const opened = await member.open(this.#recovered, { value: shared });
      checkAlike(opened.traits, traits, index + 1);
    }));
    this.#serving = this.#members.length;
    const start = async (thread: number) => {
      const member = this.#members[thread];
      const queues = shares[thread].map((share) => ({ ...share, stats: this.#counter(share) }));
      await member.serve(common, queues, cpus[thread]);
      member.ended().then((reason) => {
        if (reason !== undefined) this.#stop(reason);
        clearTimeout(this.#following);
        assert(this.#serving > 0, "a thread ends once");
        if (--this.#serving === 0) this.#stop(undefined);
        else this.#followSoon();
      });
      await member.watch(common, keepDevice, onStuck);
    };
    // Of threads that share a queue the one that prepares its tags comes first: until all are
    // prepared, a device that is being recovered refuses the FETCH of another (`ublk_batch_attach`).
    const threads = [...shares.keys()];
    const prepares = (thread: number) => shares[thread].some(({ prepare }) => prepare);
    await Promise.all(threads.filter(prepares).map(start));
    await Promise.all(threads.filter((thread) => !prepares(thread)).map(start));
  }

  /**
   * One thread has found the device gone. Where it was quiesced, the kernel tells nothing to a
   * thread that had no slot without a request at that time: so the others are told here.
   */
  #followSoon(): void {
    this.#following = setTimeout(() => {
      for (const member of this.#members) member.leave();
    }, FOLLOW_MS);
  }

  #add(queue: number): Member {
    const member = new Member(this.#backend, this.#members.length, queue, this.#logs.add());
    this.#members.push(member);
    return member;
  }

  /** A place where one thread counts what it does for one queue: counters have one writer. */
  #counter({ queue }: Share): SharedArrayBuffer {
    const buffer = createStatsBuffer();
    (this.#counters[queue] ??= []).push(buffer);
    return buffer;
  }

  /** Whether every thread has got on since this was last asked, or has nothing to do. */
  responsive(): boolean {
    // Each is asked, also behind one that has not.
    return this.#members.filter((member) => !member.responsive).length === 0;
  }

  /**
   * Has every thread resize its backend.
   *
   * @throws {UblkError} The first error, once all have answered.
   */
  async resize(bytes: number, limitMs: number): Promise<void> {
    const all = this.#members.map((member) => member.resize(bytes, limitMs));
    const failed = (await Promise.allSettled(all)).find(({ status }) => status === "rejected");
    if (failed !== undefined) throw (failed as PromiseRejectedResult).reason;
  }

  /**
   * Has every thread answer soon what it holds, and resolves once each has heard: none of them is
   * stuck then.
   */
  async drain(signal: AbortSignal): Promise<void> {
    for (const member of this.#members) member.drain();
    while (!this.#members.every((member) => member.listens) && !signal.aborted) {
      await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
    }
  }

  /** Whether a thread was left behind, still running: it may touch whatever it was given. */
  get forced(): boolean {
    return this.#forced || this.#members.some((member) => member.forced);
  }

  /** Ends the service of every thread at once, by force where one does not listen. */
  async abandon(graceMs: number): Promise<void> {
    await Promise.all(this.#members.map((member) => member.abandon(graceMs)));
  }

  /**
   * Closes the backends and ends the threads; the first last, since it made what they share.
   *
   * @throws {unknown} The first error of a backend's `close`, once all are closed.
   */
  async close(graceMs: number): Promise<void> {
    clearTimeout(this.#following);
    const [first, ...others] = this.#members.splice(0);
    if (first === undefined) return;
    const results = await Promise.allSettled(others.map((member) => member.close(graceMs)));
    // A thread that was left behind may still use what they share.
    const inUse = [first, ...others].some((member) => member.forced);
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
