/**
 * A serving thread: either a Worker with its own backend, or the caller's thread with the caller's
 * backend. The device treats both alike.
 *
 * @module
 */

import type { Backend, Sharing } from "../disk/backend.ts";
import type { BackendCounters } from "../disk/counters.ts";
import type { RecoveredDevice } from "../disk/load.ts";
import type { Box } from "../disk/opened.ts";
import { checkBackend } from "../disk/shape.ts";
import type { BackendSpec } from "../disk/spec.ts";
import { type BackendTraits, traitsOf } from "../disk/traits.ts";
import { LogWriter } from "../queue/log_ring.ts";
import { type FromThread, type ToThread, uncaughtError } from "../queue/messages.ts";
import { prepareServing, type ServeOrder, type ThreadResources } from "../queue/serving.ts";
import { thrownText, UblkError } from "../uapi/error.ts";
import { unpackError } from "../uapi/packed_error.ts";
import { takesConsoles } from "./consoles.ts";

/** The result of opening a backend. */
export interface Opened {
  /** The backend's traits. */
  readonly traits: BackendTraits;
  /** Whether each queue has its own backend. */
  readonly sharing: Sharing;
  /** The value that the threads share. */
  readonly shared: unknown;
  /** The counters that the disk has of its own, if any. */
  readonly counters: BackendCounters | undefined;
  /** Lines about how the disk was opened. */
  readonly warnings: readonly string[];
}

/** One serving thread. */
export interface ServingThread {
  /** Whether it is the caller's own thread. */
  readonly local: boolean;
  /** Resolves when the service has ended; with the reason, unless the device itself ended. */
  readonly stopped: Promise<UblkError | undefined>;
  /** Opens the backend. `shared` comes from opening the first thread. */
  open(
    queue: number,
    log: SharedArrayBuffer,
    recovered: RecoveredDevice | undefined,
    shared?: Box,
  ): Promise<Opened>;
  /** Fetches every slot; resolves once the device can be started. */
  serve(order: ServeOrder, cpus: readonly number[]): Promise<ThreadResources>;
  /** Closes the backend and ends the thread. Call it before the service begins or after it ends. */
  close(unshare: boolean): Promise<void>;
  /** Terminates the thread without waiting. */
  kill(): void;
}

/** A Worker that opens the backend of a specification. */
export class WorkerThread implements ServingThread {
  readonly local = false;
  readonly stopped: Promise<UblkError | undefined>;
  readonly #worker: Worker;
  readonly #spec: BackendSpec;
  readonly #deadlineMs: number | undefined;
  readonly #stop: (reason: UblkError | undefined) => void;
  #waiting?: { type: FromThread["type"]; resolve(message: never): void; reject(e: unknown): void };
  #ended = false;
  /** Why the Worker died. It answers nothing any more. */
  #dead?: UblkError;

  /**
   * Starts the Worker, which does not load the specification yet.
   *
   * @param deadlineMs The time that requests have in milliseconds, for the backend to know.
   */
  constructor(spec: BackendSpec, name: string, deadlineMs?: number) {
    this.#spec = spec;
    this.#deadlineMs = deadlineMs;
    const { promise, resolve } = Promise.withResolvers<UblkError | undefined>();
    this.stopped = promise;
    this.#stop = resolve;
    // Deno, bundlers and `deno compile` recognise the module by this form.
    const url = new URL("../queue/worker.ts", import.meta.url);
    this.#worker = new Worker(url, { type: "module", name });
    this.#worker.onmessage = (event: MessageEvent<FromThread>) => this.#receive(event.data);
    this.#worker.onerror = (event) => {
      // Otherwise the error would end the whole process.
      event.preventDefault();
      this.#dead = uncaughtError(name, event.message.replace(/^Uncaught (\(in promise\) )?/, ""));
      this.#fail(this.#dead);
    };
  }

  async open(
    queue: number,
    log: SharedArrayBuffer,
    recovered: RecoveredDevice | undefined,
    shared?: Box,
  ): Promise<Opened> {
    const spec = this.#spec;
    const takesConsole = takesConsoles();
    const told = {
      spec,
      queue,
      log,
      takesConsole,
      recovered,
      shared,
      deadlineMs: this.#deadlineMs,
    };
    return await this.#ask({ type: "open", ...told }, "opened");
  }

  async serve(order: ServeOrder, cpus: readonly number[]): Promise<ThreadResources> {
    return (await this.#ask({ type: "serve", order, cpus }, "ready")).resources;
  }

  async close(unshare: boolean): Promise<void> {
    if (this.#ended || this.#dead !== undefined) return;
    await this.#ask({ type: "close", unshare }, "closed");
    this.kill();
  }

  kill(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#worker.terminate();
    this.#stop(undefined);
  }

  #ask<T extends FromThread["type"]>(
    message: ToThread,
    type: T,
  ): Promise<Extract<FromThread, { type: T }>> {
    if (this.#dead !== undefined) return Promise.reject(this.#dead);
    return new Promise((resolve, reject) => {
      this.#waiting = { type, resolve, reject };
      try {
        this.#worker.postMessage(message);
      } catch (cause) {
        // Only the specification comes from outside.
        reject(
          new UblkError("INVALID_ARGUMENT", {
            operation: `backend ${this.#spec.module}`,
            reason: "its options cannot be cloned to a Worker",
            hint: "a BackendSpec is data: no functions, no class instances",
            cause,
          }),
        );
      }
    });
  }

  #receive(message: FromThread): void {
    if (message.type === "failed") return this.#fail(unpackError(message.error));
    if (message.type === "stopped") {
      return this.#stop(lostTagError(message.lostErrno));
    }
    const waiting = this.#waiting;
    if (waiting?.type !== message.type) return;
    this.#waiting = undefined;
    waiting.resolve(message as never);
  }

  #fail(error: UblkError): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.reject(error);
    this.#stop(error);
  }
}

function lostTagError(errno: number): UblkError | undefined {
  if (errno === 0) return undefined;
  return new UblkError("THREAD_FAILED", {
    operation: "serve",
    reason: "the kernel refused a command for a tag",
    errno,
  });
}

/** The caller's thread and the caller's backend. */
export class LocalThread implements ServingThread {
  readonly local = true;
  readonly stopped: Promise<UblkError | undefined>;
  readonly #stop: (reason: UblkError | undefined) => void;
  readonly #backend: Backend;
  #log?: LogWriter;

  /** This thread never blocks, whatever the backend declares: it belongs to the caller. */
  constructor(backend: Backend) {
    this.#backend = checkBackend(backend, "given to serve()");
    const { promise, resolve } = Promise.withResolvers<UblkError | undefined>();
    this.stopped = promise;
    this.#stop = resolve;
  }

  open(_queue: number, log: SharedArrayBuffer): Promise<Opened> {
    this.#log = new LogWriter(log);
    const traits = traitsOf(this.#backend, false);
    const { counters, warnings = [] } = this.#backend;
    return Promise.resolve({ traits, sharing: "single", shared: undefined, counters, warnings });
  }

  // deno-lint-ignore require-await -- turns what prepareServing throws into a rejection
  async serve(order: ServeOrder): Promise<ThreadResources> {
    const serving = prepareServing(this.#backend, order, this.#log!, { eventLoop: true });
    serving.run().then(
      (lostErrno) => this.#stop(lostTagError(lostErrno)),
      (cause) =>
        this.#stop(
          new UblkError("THREAD_FAILED", { operation: "serve", reason: thrownText(cause), cause }),
        ),
    );
    return serving.resources;
  }

  async close(): Promise<void> {
    try {
      await this.#backend.close?.();
    } catch (cause) {
      throw new UblkError("THREAD_FAILED", {
        operation: "close the backend",
        reason: thrownText(cause),
        hint: "see the backend's close()",
        cause,
      });
    }
  }

  kill(): void {
    // The caller's thread is not ours to terminate.
    this.#stop(undefined);
  }
}
