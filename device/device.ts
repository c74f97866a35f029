/**
 * The life cycle of a device: its steps in order, and how to undo each one.
 *
 * `create` opens the backend and adds the device. `start` fetches every tag and makes the disk
 * appear. `stop` flushes the disk and makes it disappear. `delete` frees the id. Calling a step
 * twice is harmless. A step that fails undoes itself and the steps before it.
 *
 * @module
 */

import { beginStep } from "../ctrl/pace.ts";
import { readCounters } from "../disk/counters.ts";
import { sumStats } from "../queue/stats.ts";
import { assert, UblkError } from "../uapi/error.ts";
import { featureNames } from "../uapi/features.ts";
import { checkAborted } from "./abort.ts";
import { adoptDevice } from "./adopt.ts";
import { addDevice, bringUp, type DevicePlan } from "./begin.ts";
import { asUblkError } from "./boundary.ts";
import { Holdings } from "./holdings.ts";
import {
  answered,
  type Closed,
  type DeviceInfo,
  type DeviceState,
  type DeviceStats,
  type StopOptions,
} from "./info.ts";
import { logLine, ThreadLogs } from "./log.ts";
import { GRACE_MS } from "./thread_handle.ts";
import { blockPath, charPath } from "./node.ts";
import type { DeviceOptions, RecoverOptions } from "./options.ts";
import { resizeDevice } from "./resize.ts";
import { type Settings, settingsOf } from "./settings.ts";
import { stopDevice, syncDisks, tryStopDevice } from "./stop.ts";
import { sendTelemetry } from "./telemetry.ts";
import { Threads } from "./threads.ts";

/** A device and everything that serves it. */
export class Device implements AsyncDisposable {
  /** Resolves with the outcome once this process no longer serves the device. */
  readonly closed: Promise<Closed>;

  readonly #settings: Settings;
  readonly #close: (closed: Closed) => void;
  readonly #held = new Holdings();
  #state: DeviceState = "new";
  #plan?: DevicePlan;
  /** Bytes of the disk. */
  #size = 0;
  #wasLive = false;
  /** Set when taking over an existing device. */
  #adopting?: { readonly allowVolatile: boolean };
  /** The last step that was requested. */
  #last?: Promise<unknown>;
  /** The step that is running, or ran last. */
  #running?: Promise<unknown>;
  #failure?: UblkError;
  #failing?: Promise<void>;

  /** Checks the options; nothing is opened yet. */
  constructor(options: DeviceOptions) {
    this.#settings = settingsOf(options);
    const { promise, resolve } = Promise.withResolvers<Closed>();
    this.closed = promise;
    this.#close = resolve;
  }

  /**
   * Takes over a device that another server left, and runs `create` and `start`. Most programs want
   * {@linkcode recover} instead.
   */
  static async recover(id: number, options: RecoverOptions): Promise<Device> {
    // The number of queues is not known yet.
    const device = new Device({ ...options, id: checkedId(id), queues: 0 });
    device.#adopting = { allowVolatile: options.allowVolatile === true };
    await device.create(options);
    await device.start(options);
    return device;
  }

  /** The current stage of the life cycle. */
  get state(): DeviceState {
    return this.#state;
  }

  /** The N of `/dev/ublkbN`; -1 before `create`. */
  get id(): number {
    return this.#held.id;
  }

  /** `/dev/ublkbN`. */
  get path(): string {
    return blockPath(this.id);
  }

  /** The device's properties. Available after `create`. */
  info(): DeviceInfo {
    if (this.#plan === undefined) throw wrongState("info", this.#state);
    const { grant, opened, readOnly, batch, recovery } = this.#plan;
    const { traits } = opened;
    return {
      id: grant.id,
      path: blockPath(grant.id),
      charPath: charPath(grant.id),
      state: this.#state,
      size: this.#size,
      blockSize: traits.blockSize,
      readOnly,
      queues: grant.queues,
      threads: this.#state === "created" ? 0 : this.#held.threads!.count,
      depth: grant.depth,
      maxIoBytes: grant.maxIoBytes,
      dataPath: grant.dataPath,
      batch,
      recovery,
      features: featureNames(grant.flags),
      reductions: grant.reductions,
      warnings: opened.warnings,
    };
  }

  /** Counters of the work done so far. */
  stats(): DeviceStats {
    const { threads, logs } = this.#held;
    const queues = threads?.stats() ?? [];
    const counters = threads?.backendCounters;
    return {
      ...{ total: sumStats(queues), queues, logDropped: logs?.dropped ?? 0 },
      ...(counters === undefined ? {} : { backend: readCounters(counters) }),
    };
  }

  /**
   * Whether every serving thread has made progress since the last call, or is idle. If this stays
   * false, a backend is stuck. Meant for watchdogs.
   */
  responsive(): boolean {
    return this.#held.threads?.responsive() ?? true;
  }

  /** Opens the backend and adds the device to the kernel. */
  create(options: { signal?: AbortSignal } = {}): Promise<void> {
    return this.#serially("create", async () => {
      if (this.#state !== "new") return;
      await this.#undoing(() => this.#create(options.signal));
      this.#become("created");
    });
  }

  async #create(signal?: AbortSignal): Promise<void> {
    const settings = this.#settings;
    const held = this.#held;
    checkAborted(signal);
    held.logs = new ThreadLogs(settings.logLevel, "");
    held.threads = new Threads(settings.backend, held.logs, settings.deadlineMs);
    if (this.#adopting === undefined) {
      this.#plan = await addDevice(held, settings, signal);
    } else {
      held.id = settings.id!;
      this.#plan = await adoptDevice(held, settings, this.#adopting.allowVolatile, signal);
    }
    this.#size = this.#plan.sizeBytes;
    assert(held.id >= 0 && this.#size > 0, "the kernel has the device, and it has a size");
  }

  /** Fetches every tag and makes the disk appear. Resolves once the disk can be opened. */
  start(options: { signal?: AbortSignal } = {}): Promise<void> {
    return this.#serially("start", async () => {
      if (this.#state === "live") return;
      if (this.#state !== "created") throw wrongState("start", this.#state);
      const onStuck = (error: UblkError) => this.#fail(error);
      const progress = () => answered(this.stats().total);
      await this.#undoing(() =>
        bringUp(this.#held, this.#settings, this.#plan!, onStuck, progress, options.signal)
      );
      this.#live();
      await sendTelemetry(this);
    });
  }

  #become(state: DeviceState): void {
    assert(NEXT[this.#state].includes(state), "a device's life goes on as it can");
    this.#state = state;
  }

  #live(): void {
    this.#become("live");
    this.#wasLive = true;
    this.#held.threads!.stopped.then((error) => this.#servingEnded(error));
  }

  /**
   * Changes the size of the live disk and its backend, in bytes. Before shrinking, make sure that
   * nobody uses the part that is cut off.
   *
   * @throws {UblkError} `INVALID_ARGUMENT` where the size or the backend does not allow it,
   *   `KERNEL_TOO_OLD` before Linux 6.16, or the backend's own error. A disk that failed to grow
   *   keeps its size.
   */
  resize(bytes: number): Promise<void> {
    return this.#serially("resize", async () => {
      if (this.#state !== "live") throw wrongState("resize", this.#state);
      const { opened } = this.#plan!;
      const threads = this.#held.threads!;
      await resizeDevice(
        {
          id: this.id,
          from: this.#size,
          traits: opened.traits,
          control: this.#held.control!,
          resizeBackend: (size) => threads.resize(size, this.#settings.deadlineMs),
        },
        bytes,
        () => this.#size = bytes,
      );
    });
  }

  /**
   * Makes the disk disappear. Dirty data is written first, and requests that the backend still holds
   * get a few more seconds.
   *
   * @throws {UblkError} `DEVICE_BUSY` with `safe`. If the device failed, the cause of that; dirty
   *   data may be lost then.
   */
  stop(options: StopOptions = {}): Promise<void> {
    return this.#serially("stop", async () => {
      if (this.#failure !== undefined) throw this.#failure;
      if (isOver(this.#state)) return;
      if (this.#state !== "live") throw wrongState("stop", this.#state);
      await this.#stop(options);
    });
  }

  async #stop(options: StopOptions): Promise<void> {
    this.#become("stopping");
    try {
      await this.#stopKernel(options);
      const reason = await this.#held.threads!.stopped;
      if (reason !== undefined) this.#fail(reason);
    } catch (error) {
      if (this.#failure !== undefined) throw this.#failure;
      // The kernel refused, or the caller gave up waiting. The device stays live until its threads
      // end.
      this.#live();
      throw error;
    }
    if (this.#failure !== undefined) throw this.#failure;
    this.#held.closeChar();
    this.#become("stopped");
  }

  async #stopKernel({ safe = false, signal }: StopOptions): Promise<void> {
    checkAborted(signal);
    const control = this.#held.control!;
    const threads = this.#held.threads!;
    const progress = () => answered(this.stats().total);
    const ended = new AbortController();
    threads.stopped.then(() => ended.abort());
    const { recovery } = this.#plan!;
    if (recovery === "queue" || recovery === "reissue") {
      const signals = signal === undefined ? [ended.signal] : [ended.signal, signal];
      await syncDisks(progress, AbortSignal.any(signals));
      checkAborted(signal);
    }
    if (safe) return await tryStopDevice(control, this.id, signal);
    // STOP_DEV waits in the kernel for every request that a thread holds, and cannot be interrupted.
    // So send it only after each thread has shown that it still listens.
    await threads.drain(ended.signal);
    await stopDevice(control, this.id, progress, signal);
  }

  /**
   * Stops the device if necessary, removes it from the kernel and closes the backend. A device that
   * this process has released belongs to others and stays.
   */
  delete(options: { signal?: AbortSignal } = {}): Promise<void> {
    return this.#serially("delete", async () => {
      if (this.#state === "deleted" || this.#state === "released") return;
      if (this.#state === "live") await this.#stop(options);
      try {
        await this.#release(this.#mustStay());
        this.#close({ reason: "deleted" });
      } catch (error) {
        this.#close({ reason: "failed", error: this.#known(error, "delete") });
        throw error;
      }
    });
  }

  /** Stops and deletes. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.delete();
  }

  /**
   * Runs steps one at a time in call order, and never beside the removal of a failed device.
   * Whatever a step throws leaves as a {@linkcode UblkError}.
   */
  #serially<T>(name: string, step: () => Promise<T>): Promise<T> {
    const run = (this.#last ?? Promise.resolve()).then(async () => {
      // With nothing to wait for, no turn passes in which the removal could begin beside the step.
      if (this.#failing !== undefined) await this.#failing;
      using _ = beginStep();
      const running = step();
      this.#running = running.catch(() => {});
      return await running;
    }).catch((thrown) => {
      throw this.#known(thrown, name);
    });
    this.#last = run.catch(() => {});
    return run;
  }

  #known(thrown: unknown, step: string): UblkError {
    return asUblkError(thrown, step, this.id < 0 ? undefined : this.id);
  }

  async #undoing(step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (thrown) {
      const held = this.#held;
      await held.threads?.abandon(GRACE_MS).catch((reason) => logLine(40, `${reason.message}`));
      const keep = this.#mustStay();
      await this.#release(keep).catch((reason) => logLine(40, `undo: ${reason.message}`));
      // If a stuck backend was the cause, report that one.
      const error = this.#failure ?? this.#known(thrown, "serve");
      this.#closeFailed(error, keep);
      throw error;
    }
  }

  /**
   * Whether this process must leave the device in place: it existed before, and its recovery has not
   * completed.
   */
  #mustStay(): boolean {
    return this.#adopting !== undefined && !this.#wasLive;
  }

  /** Called when all threads have ended unasked, or one of them failed. */
  #servingEnded(error: UblkError | undefined): void {
    if (this.#state !== "live") return;
    if (error !== undefined) return this.#fail(error);
    this.#serially("delete", async () => {
      if (this.#state !== "live") return;
      this.#become("stopping");
      const quiesced = this.#plan!.recovery !== undefined && await this.#held.outlives();
      await this.#release(quiesced);
      if (quiesced) this.#close({ reason: "quiesced", recoverable: true });
      else this.#close({ reason: "removed" });
    }).catch((reason) => this.#close({ reason: "failed", error: reason }));
  }

  /**
   * Handles a server that cannot go on: deletes the device, or leaves it for another server if it
   * can be recovered. This does not wait for the running step, which may itself be waiting for the
   * stuck requests.
   */
  #fail(error: UblkError): void {
    if (this.#failure !== undefined || isOver(this.#state)) return;
    // If the owner is stopping the device, it is deleted in any case.
    const keep = this.#mustStay() ||
      this.#state === "live" && this.#plan!.recovery !== undefined;
    this.#failure = error;
    this.#become("stopping");
    logLine(40, error.message);
    const running = this.#running;
    this.#failing = (async () => {
      await this.#held.threads!.abandon(GRACE_MS);
      this.#held.closeChar();
      await running;
      await this.#release(keep);
    })().catch((reason) => logLine(40, `${reason.message}`))
      .finally(() => this.#closeFailed(error, keep));
  }

  #closeFailed(error: UblkError, keep: boolean): void {
    this.#close(
      keep ? { reason: "failed", error, recoverable: true } : { reason: "failed", error },
    );
  }

  /** Releases all resources, and deletes the device unless it must stay. */
  async #release(keepDevice: boolean): Promise<void> {
    try {
      await this.#held.release(keepDevice, this.#settings.deadlineMs);
    } finally {
      this.#become(keepDevice ? "released" : "deleted");
    }
    // A device that was never adopted has nothing to report.
    if (keepDevice && this.#plan !== undefined) {
      logLine(30, `${this.path} stays, and waits for \`ublk recover -n ${this.id}\``);
    }
  }
}

function checkedId(id: number): number {
  if (Number.isInteger(id) && id >= 0) return id;
  throw new UblkError("INVALID_ARGUMENT", {
    operation: "recover",
    reason: `${id} is no device`,
    hint: "give the N of /dev/ublkbN",
  });
}

/** The states that may follow each state. */
const NEXT: Readonly<Record<DeviceState, readonly DeviceState[]>> = {
  // What fails to begin is undone, and may be stuck meanwhile.
  "new": ["created", "stopping", "deleted", "released"],
  "created": ["live", "stopping", "deleted", "released"],
  // A thread that fails while the device is being stopped finds it "stopping".
  "live": ["stopping", "deleted", "released"],
  // A stop that was refused leaves it live.
  "stopping": ["live", "stopping", "stopped", "deleted", "released"],
  "stopped": ["deleted", "released"],
  "deleted": ["deleted"],
  "released": ["released"],
};

/** Whether there is nothing left to stop. */
function isOver(state: DeviceState): boolean {
  return state === "stopped" || state === "deleted" || state === "released";
}

function wrongState(step: string, state: DeviceState): UblkError {
  return new UblkError("INVALID_ARGUMENT", {
    operation: step,
    reason: `the device is ${state}`,
    hint: "its steps are create, start, stop, delete, in this order",
  });
}
