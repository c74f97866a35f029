/**
 * The serving threads of one device, together: starting them, draining them, ending them.
 *
 * @module
 */

import type { Backend } from "../backends/backend.ts";
import { type BackendSpec, isBackendSpec } from "../backends/spec.ts";
import {
  CONTROL_DEADLINE_MS,
  CONTROL_ORDER,
  CONTROL_SEEN,
  createControlBlock,
  ORDER_ABANDON,
  ORDER_DRAIN,
} from "../queue/control_block.ts";
import type { Box } from "../queue/messages.ts";
import type { ServeOrder, ThreadResources } from "../queue/serving.ts";
import { UblkError } from "../uapi/error.ts";
import { closeFd, eventFd, signalEventFd } from "../uring/libc.ts";
import type { ThreadLogs } from "./log.ts";
import { LocalThread, type Opened, type ServingThread, WorkerThread } from "./serving_thread.ts";
import { releaseByForce } from "./teardown.ts";
import { guardLocalThread } from "./watchdog.ts";
import { watchThread } from "./watch.ts";

/** What every thread is told alike. */
export type CommonOrder = Omit<ServeOrder, "queues" | "control" | "wakeFd">;

/** One thread and what its manager keeps of it. */
interface Member {
  readonly thread: ServingThread;
  readonly log: SharedArrayBuffer;
  queues: number[];
  control?: SharedArrayBuffer;
  wakeFd?: number;
  resources?: ThreadResources;
  unwatch?: () => void;
}

/** How often a drain looks whether its order has been seen. */
const DRAIN_POLL_MS = 5;

/** All threads that serve one device. */
export class Threads {
  /** Resolves when every thread's service has ended; with the first reason that is an error. */
  readonly stopped: Promise<UblkError | undefined>;

  readonly #backend: BackendSpec | Backend;
  readonly #logs: ThreadLogs;
  readonly #members: Member[] = [];
  readonly #name: string;
  readonly #stop: (reason: UblkError | undefined) => void;
  #opened?: Opened;
  #serving = 0;
  #failure?: UblkError;

  /** Nothing runs yet: see {@linkcode open}. */
  constructor(backend: BackendSpec | Backend, logs: ThreadLogs, name: string) {
    this.#backend = backend;
    this.#logs = logs;
    this.#name = name;
    const { promise, resolve } = Promise.withResolvers<UblkError | undefined>();
    this.stopped = promise;
    this.#stop = resolve;
  }

  /** Opens the backend in the first thread, and tells what it is. */
  async open(): Promise<Opened> {
    const first = this.#add(0);
    this.#opened = await first.thread.open(0, first.log);
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
    this.#members[0].queues = sharing === "per-queue" ? [0] : queues;
    if (sharing === "per-queue") {
      const others = queues.slice(1).map((queue) => this.#add(queue));
      await Promise.all(others.map(async ({ thread, log, queues: [queue] }) => {
        const opened = await thread.open(queue, log, { value: shared });
        checkAlike(opened.traits, traits, queue);
      }));
    }
    await Promise.all(this.#members.map(async (member) => {
      const control = createControlBlock(common.deadlineMs);
      member.control = control;
      member.wakeFd = eventFd();
      const cpus = [...new Set(member.queues.flatMap((queue) => affinity[queue]))];
      const order: ServeOrder = {
        ...common,
        control,
        wakeFd: member.wakeFd,
        queues: member.queues.map((queue) => ({ queue, stats: stats[queue] })),
      };
      member.resources = await member.thread.serve(order, cpus);
      this.#serving++;
      member.thread.stopped.then((reason) => this.#ended(member, reason));
      member.unwatch = this.#watch(member, common, onStuck);
    }));
  }

  #watch(member: Member, common: CommonOrder, onStuck: (error: UblkError) => void): () => void {
    const error = stuckError(common.device, common.deadlineMs);
    if (!member.thread.local) return watchThread(member.control!, () => onStuck(error));
    return guardLocalThread({
      control: member.control!,
      device: common.device,
      charFd: common.charFd,
      resources: member.resources!,
      message: `${error.name}: ${error.message}`,
    });
  }

  #add(queue: number): Member {
    const log = this.#logs.add();
    const thread = isBackendSpec(this.#backend)
      ? new WorkerThread(this.#backend, `${this.#name} queue ${queue}`)
      : new LocalThread(this.#backend);
    const member: Member = { thread, log, queues: [queue] };
    this.#members.push(member);
    return member;
  }

  #ended(member: Member, reason: UblkError | undefined): void {
    member.unwatch?.();
    this.#failure ??= reason;
    if (--this.#serving === 0) this.#stop(this.#failure);
  }

  /**
   * Has every thread answer what it holds within `deadlineMs`, and resolves once each has taken
   * the order: none of them is stuck then.
   */
  async drain(deadlineMs: number, signal: AbortSignal): Promise<void> {
    for (const member of this.#members) {
      if (member.control === undefined) continue;
      const words = new Int32Array(member.control);
      const shorter = Math.min(deadlineMs, words[CONTROL_DEADLINE_MS]);
      Atomics.store(words, CONTROL_DEADLINE_MS, shorter);
      this.#order(member, ORDER_DRAIN);
    }
    while (!this.#members.every((member) => hasSeen(member, ORDER_DRAIN))) {
      if (this.#serving === 0 || signal.aborted) return;
      await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
    }
  }

  /** Ends the service of every thread at once, by force where one does not listen. */
  async abandon(graceMs: number): Promise<void> {
    for (const member of this.#members) {
      if (member.control !== undefined) this.#order(member, ORDER_ABANDON);
    }
    await Promise.all(this.#members.map(async (member) => {
      // A backend that opened and never served is closed in order, by close(): it may hold much.
      const idle = member === this.#members[0] && member.control === undefined;
      if (idle && this.#opened !== undefined) return;
      if (member.resources === undefined) return member.thread.kill();
      if (await settlesWithin(member.thread.stopped, graceMs)) return;
      member.thread.kill();
      const { resources } = member;
      member.resources = undefined;
      releaseByForce(resources);
    }));
  }

  #order(member: Member, order: number): void {
    Atomics.or(new Int32Array(member.control!), CONTROL_ORDER, order);
    signalEventFd(member.wakeFd!);
  }

  /**
   * Closes the backends and ends the threads; the first last, since it made what they share. A
   * backend that does not close in `graceMs` is left to itself.
   */
  async close(graceMs: number): Promise<void> {
    const shared = this.#opened === undefined ? undefined : { value: this.#opened.shared };
    const [first, ...others] = this.#members.splice(0);
    const close = async ({ thread }: Member, unshare?: Box) => {
      const closing = thread.close(unshare);
      if (await settlesWithin(closing, graceMs)) return await closing;
      closing.catch(() => {});
      thread.kill();
      throw unclosedError(graceMs);
    };
    try {
      await Promise.all(others.map((member) => close(member)));
      // A thread whose backend never opened has nothing to close, and may be waiting for ever.
      if (shared === undefined) first?.thread.kill();
      else if (first !== undefined) await close(first, shared);
    } finally {
      for (const member of [first, ...others]) {
        member?.unwatch?.();
        if (member?.wakeFd !== undefined) closeFd(member.wakeFd);
      }
    }
  }
}

function hasSeen(member: Member, order: number): boolean {
  if (member.control === undefined) return true;
  return (Atomics.load(new Int32Array(member.control), CONTROL_SEEN) & order) !== 0;
}

async function settlesWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => timer = setTimeout(() => resolve(false), ms));
  try {
    return await Promise.race([promise.then(() => true, () => true), late]);
  } finally {
    clearTimeout(timer);
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

function stuckError(device: number, deadlineMs: number): UblkError {
  return new UblkError("BACKEND_STUCK", {
    operation: "serve",
    device,
    reason: `a method of the backend has not returned in ${deadlineMs} ms`,
    hint: "the device is removed; let long work return a Promise, or raise the deadline",
  });
}

function unclosedError(graceMs: number): UblkError {
  return new UblkError("BACKEND_STUCK", {
    operation: "close the backend",
    reason: `it did not close in ${graceMs} ms`,
    hint: "the device is deleted all the same; see the backend's close()",
  });
}
