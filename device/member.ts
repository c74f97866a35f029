/**
 * One serving thread with what its manager keeps of it: the control block, the eventfd that wakes
 * it, and what to take from it should it never return.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import type { RecoveredDevice } from "../disk/load.ts";
import { type BackendSpec, isBackendSpec } from "../disk/spec.ts";
import {
  CONTROL_ORDER,
  CONTROL_SEEN,
  createControlBlock,
  ORDER_ABANDON,
  ORDER_DRAIN,
  ORDER_LEAVE,
  orderResize,
  resizeResult,
} from "../queue/control_block.ts";
import type { Box } from "../queue/messages.ts";
import type { QueueShare, ServeOrder, ThreadResources } from "../queue/serving.ts";
import { errnoName } from "../uapi/errno.ts";
import { assert, UblkError } from "../uapi/error.ts";
import { closeFd, eventFd, neutralizeFd, signalEventFd } from "../uring/libc.ts";
import { pacedMs } from "../ctrl/pace.ts";
import { LocalThread, type Opened, type ServingThread, WorkerThread } from "./serving_thread.ts";
import { releaseByForce } from "./teardown.ts";
import { guardLocalThread } from "./watchdog.ts";
import { Look, watchThread } from "./watch.ts";

/** What every thread is told alike. */
export type CommonOrder = Omit<ServeOrder, "queues" | "control" | "wakeFd" | "completionsFd">;

/** How often it is looked whether an order has been carried out. */
const POLL_MS = 5;

/** How long a thread gets to leave by itself, in milliseconds. */
export const GRACE_MS = 5_000;

/** How long a thread may take to open its ring and fetch its slots, on a machine at its limit. */
const READY_MS = 30_000;

/** One thread of a device. */
export class Member {
  /** Whether it was left behind, still running. Nothing that it shares may be released then. */
  forced = false;

  readonly #thread: ServingThread;
  readonly #queue: number;
  readonly #log: SharedArrayBuffer;
  #control?: SharedArrayBuffer;
  #look?: Look;
  #wakeFd = -1;
  /** For a thread with an event loop. */
  #completionsFd = -1;
  #hasEventLoop = false;
  #ready?: Promise<ThreadResources>;
  #unwatch?: () => void;
  #isOpen = false;
  #over = false;

  /**
   * Starts a Worker for a specification; an object gets the caller's thread.
   *
   * @param index The thread's number, to name it by.
   * @param queue The first of its queues.
   */
  constructor(
    backend: BackendSpec | Backend,
    index: number,
    queue: number,
    log: SharedArrayBuffer,
  ) {
    this.#queue = queue;
    this.#log = log;
    this.#thread = isBackendSpec(backend)
      ? new WorkerThread(backend, `ublk thread ${index}`)
      : new LocalThread(backend);
  }

  /** Opens the backend. `shared` is what the first thread's opening returned. */
  async open(recovered: RecoveredDevice | undefined, shared?: Box): Promise<Opened> {
    const opened = await this.#thread.open(this.#queue, this.#log, recovered, shared);
    this.#isOpen = true;
    this.#hasEventLoop = !opened.traits.synchronous;
    return opened;
  }

  /** Has the thread fetch every slot of its shares. */
  async serve(
    common: CommonOrder,
    queues: readonly QueueShare[],
    cpus: readonly number[],
  ): Promise<void> {
    assert(this.#isOpen, "the backend is open");
    assert(this.#ready === undefined, "a thread is told once what to serve");
    this.#wakeFd = eventFd();
    if (this.#hasEventLoop) this.#completionsFd = eventFd(true);
    const control = createControlBlock(common.deadlineMs);
    this.#control = control;
    this.#look = new Look({ control, completionsFd: this.#completionsFd });
    this.#ready = this.#thread.serve({
      ...common,
      control,
      wakeFd: this.#wakeFd,
      completionsFd: this.#completionsFd,
      queues,
    }, cpus);
    await this.#ready;
  }

  /**
   * Resolves when the service has ended and holds nothing any more; with the reason, if it was not
   * the end of the device.
   */
  async ended(): Promise<UblkError | undefined> {
    assert(this.#ready !== undefined, "the thread serves");
    const reason = await this.#thread.stopped;
    this.#over = true;
    this.#unwatch?.();
    // A thread that died could release nothing itself. One that did has said so.
    const resources = await this.#ready;
    releaseByForce(this.#control!, resources!);
    return reason;
  }

  /**
   * Calls `onStuck` if the thread gets stuck in its backend.
   *
   * @param keepDevice Whether the device is to outlive its server.
   */
  async watch(
    common: CommonOrder,
    keepDevice: boolean,
    onStuck: (error: UblkError) => void,
  ): Promise<void> {
    const resources = (await this.#ready)!;
    const control = this.#control!;
    const error = stuckError(common.device, common.deadlineMs, keepDevice);
    const completionsFd = this.#completionsFd;
    this.#unwatch = this.#thread.local
      ? guardLocalThread({
        control,
        completionsFd,
        device: common.device,
        charFd: common.charFd,
        resources,
        keepDevice,
        message: error.message,
      })
      // A thread that blocks in the kernel is woken to look for what is overdue.
      : watchThread({ control, completionsFd }, () => onStuck(error), () => {
        if (common.bounded && !this.#hasEventLoop) signalEventFd(this.#wakeFd);
      });
  }

  /** Has the thread answer soon what is outstanding, and say that it has heard. */
  drain(): void {
    if (this.#control === undefined) return;
    Atomics.and(new Int32Array(this.#control), CONTROL_SEEN, ~ORDER_DRAIN);
    this.#order(ORDER_DRAIN);
  }

  /** Has the thread answer what it holds, and leave. */
  leave(): void {
    if (!this.#over && this.#control !== undefined) this.#order(ORDER_LEAVE);
  }

  /** Whether it has heard: then it is not stuck. */
  get listens(): boolean {
    if (this.#control === undefined) return true;
    return (Atomics.load(new Int32Array(this.#control), CONTROL_SEEN) & ORDER_DRAIN) !== 0;
  }

  /** Whether it has got on since this was last asked, or has nothing to do. */
  get responsive(): boolean {
    return this.#over || (this.#look?.gotOn() ?? true);
  }

  /**
   * Has the thread resize its backend.
   *
   * @throws {UblkError} With the errno of what the backend has thrown; `BACKEND_STUCK` if it is not
   *   done in `limitMs`.
   */
  async resize(bytes: number, limitMs: number): Promise<void> {
    const control = new Int32Array(this.#control!);
    const order = orderResize(control, bytes);
    signalEventFd(this.#wakeFd);
    const endMs = performance.now() + limitMs;
    while (true) {
      const errno = resizeResult(control, order);
      if (errno === 0) return;
      if (errno !== undefined) throw unresizedError(bytes, errno);
      if (this.#over || performance.now() > endMs) throw lateError(bytes, limitMs);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** Ends the service at once, by force where the thread does not listen within `graceMs`. */
  async abandon(graceMs: number): Promise<void> {
    if (this.#ready === undefined) return;
    this.#order(ORDER_ABANDON);
    // It may still be on its way to "ready"; what it holds is known only then, and lost with a
    // thread that is ended before. On that way it calls no backend, so that it is slow and not stuck.
    if (!await settlesWithin(this.#ready, Math.max(graceMs, READY_MS))) {
      this.forced = true;
      return this.#thread.kill();
    }
    const resources = await this.#ready.catch(() => undefined);
    if (resources === undefined || await settlesWithin(this.#thread.stopped, graceMs)) return;
    this.forced = true;
    this.#thread.kill();
    releaseByForce(this.#control!, resources);
  }

  #order(order: number): void {
    Atomics.or(new Int32Array(this.#control!), CONTROL_ORDER, order);
    signalEventFd(this.#wakeFd);
  }

  /**
   * Closes the backend and ends the thread. A backend that does not close in `closeMs` is left to
   * itself. One that has not opened yet holds nothing to write back, and gets {@linkcode GRACE_MS},
   * however many devices are under way: each such start that was called off once took 20 s.
   */
  async close(closeMs: number, unshare = false): Promise<void> {
    this.#unwatch?.();
    const limitMs = this.#isOpen ? closeMs : Math.min(closeMs, GRACE_MS);
    try {
      const closing = this.#thread.close(unshare);
      if (await settlesWithin(closing, limitMs, this.#isOpen)) return await closing;
      closing.catch(() => {});
      this.forced = true;
      throw unclosedError(limitMs);
    } finally {
      this.#thread.kill();
      for (const fd of [this.#wakeFd, this.#completionsFd]) {
        // A thread that was left behind may still use its number.
        if (fd >= 0) this.forced ? neutralizeFd(fd) : closeFd(fd);
      }
      this.#wakeFd = this.#completionsFd = -1;
    }
  }
}

/**
 * Whether a promise settles in time.
 *
 * @param paced Whether the time is meant for one device: see {@linkcode pacedMs}.
 */
async function settlesWithin(
  promise: Promise<unknown>,
  ms: number,
  paced = true,
): Promise<boolean> {
  const startMs = performance.now();
  const settled = promise.then(() => true, () => true);
  let leftMs = ms;
  while (leftMs > 0) {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<boolean>((resolve) =>
      timer = setTimeout(() => resolve(false), leftMs)
    );
    const isSettled = await Promise.race([settled, late]).finally(() => clearTimeout(timer));
    if (isSettled) return true;
    leftMs = startMs + (paced ? pacedMs(ms) : ms) - performance.now();
  }
  return false;
}

function stuckError(device: number, deadlineMs: number, keepDevice: boolean): UblkError {
  return new UblkError("BACKEND_STUCK", {
    operation: "serve",
    device,
    reason: `a method of the backend has not returned in ${deadlineMs} ms`,
    hint: `the device ${keepDevice ? "waits for recovery" : "is removed"}; ` +
      "let long work return a Promise, or raise the deadline",
  });
}

function unresizedError(bytes: number, errno: number): UblkError {
  return new UblkError("SYSCALL_FAILED", {
    operation: "resize the backend",
    reason: `it cannot have ${bytes} bytes: ${errnoName(errno)}`,
    errno,
    hint: "the log has the backend's own words",
  });
}

function lateError(bytes: number, limitMs: number): UblkError {
  return new UblkError("BACKEND_STUCK", {
    operation: "resize the backend",
    reason: `a thread has not resized it to ${bytes} bytes in ${limitMs} ms`,
    hint: "see the backend's resize()",
  });
}

function unclosedError(graceMs: number): UblkError {
  return new UblkError("BACKEND_STUCK", {
    operation: "close the backend",
    reason: `it did not close in ${graceMs} ms`,
    hint: "the device is deleted all the same; see the backend's close()",
  });
}
