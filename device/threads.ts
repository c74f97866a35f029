/**
 * The serving threads of one device, together: starting them, draining them, ending them.
 *
 * @module
 */

import type { Backend } from "../backends/backend.ts";
import type { BackendSpec } from "../backends/spec.ts";
import { UblkError } from "../uapi/error.ts";
import type { ThreadLogs } from "./log.ts";
import { type CommonOrder, Member } from "./member.ts";
import type { Opened } from "./serving_thread.ts";

/** How often a drain looks whether its order has been seen. */
const DRAIN_POLL_MS = 5;

/** All threads that serve one device. */
export class Threads {
  /** Resolves when every thread's service has ended, or with the reason as soon as one failed. */
  readonly stopped: Promise<UblkError | undefined>;

  readonly #backend: BackendSpec | Backend;
  readonly #logs: ThreadLogs;
  readonly #members: Member[] = [];
  readonly #stop: (reason: UblkError | undefined) => void;
  #opened?: Opened;
  #serving = 0;

  /** Nothing runs yet: see {@linkcode open}. */
  constructor(backend: BackendSpec | Backend, logs: ThreadLogs) {
    this.#backend = backend;
    this.#logs = logs;
    const { promise, resolve } = Promise.withResolvers<UblkError | undefined>();
    this.stopped = promise;
    this.#stop = resolve;
  }

  /** Opens the backend in the first thread, and tells what it is. */
  async open(): Promise<Opened> {
    this.#opened = await this.#add(0).open();
    return this.#opened;
  }

  /**
   * Hands every slot of every queue to the kernel: one thread per queue where the backend shares,
   * one for all where it does not.
   */
  async serve(
    common: CommonOrder,
    stats: readonly SharedArrayBuffer[],
    affinity: readonly (readonly number[])[],
    onStuck: (error: UblkError) => void,
  ): Promise<void> {
    const { sharing, shared, traits } = this.#opened!;
    const queues = stats.map((_, queue) => queue);
    if (sharing === "per-queue") {
      const others = queues.slice(1).map((queue) => this.#add(queue));
      await Promise.all(others.map(async (member) => {
        const opened = await member.open({ value: shared });
        checkAlike(opened.traits, traits, member.queues[0]);
      }));
    } else {
      this.#members[0].queues = queues;
    }
    this.#serving = this.#members.length;
    await Promise.all(this.#members.map(async (member) => {
      const cpus = [...new Set(member.queues.flatMap((queue) => affinity[queue]))];
      await member.serve(common, stats, cpus);
      member.ended().then((reason) => {
        if (reason !== undefined) this.#stop(reason);
        if (--this.#serving === 0) this.#stop(undefined);
      });
      await member.watch(common, onStuck);
    }));
  }

  #add(queue: number): Member {
    const member = new Member(this.#backend, queue, this.#logs.add());
    this.#members.push(member);
    return member;
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
    const [first, ...others] = this.#members.splice(0);
    if (first === undefined) return;
    const results = await Promise.allSettled(others.map((member) => member.close(graceMs)));
    // A thread that was left behind may still use what they share.
    const inUse = [first, ...others].some((member) => member.forced);
    results.push(...await Promise.allSettled([first.close(graceMs, !inUse)]));
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }
}

function checkAlike(traits: Opened["traits"], first: Opened["traits"], queue: number): void {
  for (const key of Object.keys(first) as (keyof Opened["traits"])[]) {
    if (traits[key] === first[key]) continue;
    throw new UblkError("BACKEND_SHAPE", {
      operation: "open the backend",
      queue,
      reason: `its ${key} is ${traits[key]}, in queue 0 it is ${first[key]}`,
      hint: 'a "per-queue" backend must open alike in every thread',
    });
  }
}
