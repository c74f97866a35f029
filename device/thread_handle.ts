/**
 * The manager's handle of one serving thread: its control block, the eventfd that wakes it, and the
 * resources to release if it never returns.
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
import type { Box } from "../disk/opened.ts";
import type { QueueShare, ServeOrder, ThreadResources } from "../queue/serving.ts";
import { errnoName } from "../uapi/errno.ts";
import { assert, UblkError } from "../uapi/error.ts";
import { closeFd, eventFd, neutralizeFd, signalEventFd } from "../uring/libc.ts";
import { pacedMs } from "../ctrl/pace.ts";
import { LocalThread, type Opened, type ServingThread, WorkerThread } from "./serving_thread.ts";
import { releaseByForce } from "./teardown.ts";
import { guardLocalThread } from "./watchdog.ts";
import { ProgressProbe, watchThread } from "./watch.ts";

/** The part of the order that is the same for every thread. */
export type CommonOrder = Omit<ServeOrder, "queues" | "control" | "wakeFd" | "completionsFd">;

/** Poll interval while waiting for an order to be carried out, in milliseconds. */
const POLL_MS = 5;

/** Time a thread has to end by itself, in milliseconds. */
export const GRACE_MS = 5_000;

/** Time a thread has to open its ring and fetch its slots on an overloaded machine, in ms. */
const READY_MS = 30_000;

/** One serving thread of a device. */
export class ThreadHandle {
  /** The thread was left behind, still running. Nothing that it shares may be released then. */
  forced = false;

  readonly #thread: ServingThread;
  readonly #queue: number;
  readonly #log: SharedArrayBuffer;
  #control?: SharedArrayBuffer;
  #probe?: ProgressProbe;
  #wakeFd = -1;
  /** For a thread with an event loop. */
  #completionsFd = -1;
  #hasEventLoop = false;
  #ready?: Promise<ThreadResources>;
  #unwatch?: () => void;
  #isOpen = false;
  #over = false;

  /**
   * Starts a Worker for a specification. A backend object is served by the caller's thread.
   *
   * @param index The thread's number, used in its name.
   * @param queue The first of the thread's queues.
   * @param deadlineMs The time that requests have in milliseconds, for the backend to know.
   */
  constructor(
    backend: BackendSpec | Backend,
    index: number,
    queue: number,
    log: SharedArrayBuffer,
    deadlineMs?: number,
  ) {
    this.#queue = queue;
    this.#log = log;
    this.#thread = isBackendSpec(backend)
      ? new WorkerThread(backend, `ublk thread ${index}`, deadlineMs)
      : new LocalThread(backend);
  }

  /** Opens the backend. `shared` comes from opening the first thread. */
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
    this.#probe = new ProgressProbe({ control, completionsFd: this.#completionsFd });
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
   * Resolves when the service has ended and released everything. The value is the reason, or
   * undefined if the device itself ended.
   */
  async ended(): Promise<UblkError | undefined> {
    assert(this.#ready !== undefined, "the thread serves");
    const reason = await this.#thread.stopped;
    this.#over = true;
    this.#unwatch?.();
    // A thread that died could not release anything. One that did release has noted it.
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

  /** Tells the thread to answer outstanding requests soon, and to acknowledge the order. */
  drain(): void {
    if (this.#control === undefined) return;
    Atomics.and(new Int32Array(this.#control), CONTROL_SEEN, ~ORDER_DRAIN);
    this.#order(ORDER_DRAIN);
  }

  /** Tells the thread to answer what it holds, and to end. */
  leave(): void {
    if (!this.#over && this.#control !== undefined) this.#order(ORDER_LEAVE);
  }

  /** Whether it has acknowledged the drain order, which a stuck thread cannot do. */
  get listens(): boolean {
    if (this.#control === undefined) return true;
    return (Atomics.load(new Int32Array(this.#control), CONTROL_SEEN) & ORDER_DRAIN) !== 0;
  }

  /** Whether it has made progress since the last call, or is idle. */
  get responsive(): boolean {
    return this.#over || (this.#probe?.advanced() ?? true);
  }

  /**
   * Tells the thread to resize its backend, and waits for the result.
   *
   * @throws {UblkError} With the errno of the backend's error; `BACKEND_STUCK` if it takes longer
   *   than `limitMs`.
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
    // The thread may not be ready yet. Its resources are known only once it is, and leak if it is
    // killed earlier. Until then it calls no backend, so it is slow rather than stuck.
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
   * Closes the backend and ends the thread. A backend that does not close within `closeMs` is
   * abandoned. One that has not opened yet has nothing to write back and gets {@linkcode GRACE_MS},
   * however many devices are starting: each cancelled start once took 20 s.
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
        // An abandoned thread may still use the descriptor's number.
        if (fd >= 0) this.forced ? neutralizeFd(fd) : closeFd(fd);
      }
      this.#wakeFd = this.#completionsFd = -1;
    }
  }
}

/**
 * Whether a promise settles in time.
 *
 * @param paced Whether the limit grows with the number of devices at work: {@linkcode pacedMs}.
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
