/**
 * The life of a device: the order of its steps, and how each is undone.
 *
 * `create` opens the backend and adds the device; `start` fetches every tag and makes the disk
 * appear; `stop` makes it disappear, flushed; `delete` gives the id back. Each may be called twice,
 * and a step that fails undoes itself and those before it.
 *
 * @module
 */

import { Control } from "../ctrl/control.ts";
import { type Grant, planDevice, readGrant } from "../ctrl/negotiate.ts";
import { ublkParams } from "../ctrl/params.ts";
import { createStatsBuffer, readStats, sumStats } from "../queue/stats.ts";
import type { DataPathName } from "../queue/serving.ts";
import { UblkError } from "../uapi/error.ts";
import { featureNames } from "../uapi/features.ts";
import { closeFd } from "../uring/libc.ts";
import { abortable, checkAborted } from "./abort.ts";
import { deleteDevice } from "./delete.ts";
import type { Closed, DeviceInfo, DeviceState, DeviceStats, StopOptions } from "./info.ts";
import { logLine, ThreadLogs } from "./log.ts";
import { blockPath, charPath, openCharDevice, probeBlockDevice } from "./node.ts";
import { type DeviceOptions, type Settings, settingsOf } from "./options.ts";
import type { Opened } from "./serving_thread.ts";
import { stopDevice } from "./stop.ts";
import { Threads } from "./threads.ts";

const NODE_TIMEOUT_MS = 10_000;
/**
 * The longest discard or write-zeroes in bytes: one that takes a backend long holds up its queue,
 * and its deadline.
 */
const MAX_RANGE_BYTES = 64 << 20;
/** How long a thread gets to leave by itself. */
const GRACE_MS = 5_000;

/** A device and everything that serves it. */
export class Device implements AsyncDisposable {
  /** Resolves once nothing of the device is left, with how that came about. Never rejects. */
  readonly closed: Promise<Closed>;

  readonly #settings: Settings;
  readonly #close: (closed: Closed) => void;
  #state: DeviceState = "new";
  #control?: Control;
  #logs?: ThreadLogs;
  #threads?: Threads;
  #opened?: Opened;
  #id = -1;
  #grant?: Grant;
  #charFd = -1;
  #stats: SharedArrayBuffer[] = [];
  /** The last step that was asked for. */
  #last?: Promise<unknown>;
  /** The step that is under way, or was last. */
  #running?: Promise<unknown>;
  #removal?: Promise<void>;
  #failure?: UblkError;
  #failing?: Promise<void>;

  /** Checks the options and does nothing else. */
  constructor(options: DeviceOptions) {
    this.#settings = settingsOf(options);
    const { promise, resolve } = Promise.withResolvers<Closed>();
    this.closed = promise;
    this.#close = resolve;
  }

  /** Where the device is in its life. */
  get state(): DeviceState {
    return this.#state;
  }

  /** The N of `/dev/ublkbN`; -1 before `create`. */
  get id(): number {
    return this.#id;
  }

  /** `/dev/ublkbN`. */
  get path(): string {
    return blockPath(this.id);
  }

  /** What the device is. After `create`. */
  info(): DeviceInfo {
    const grant = this.#grant;
    const traits = this.#opened?.traits;
    if (grant === undefined || traits === undefined) throw wrongState("info", this.#state);
    return {
      id: grant.id,
      path: blockPath(grant.id),
      charPath: charPath(grant.id),
      state: this.#state,
      size: traits.size,
      blockSize: traits.blockSize,
      readOnly: traits.readOnly || this.#settings.readOnly,
      queues: grant.queues,
      depth: grant.depth,
      maxIoBytes: grant.maxIoBytes,
      dataPath: grant.dataPath === "copy" && traits.ring ? "ring" : grant.dataPath,
      features: featureNames(grant.flags),
      reductions: grant.reductions,
    };
  }

  /** What the device has done so far. */
  stats(): DeviceStats {
    const queues = this.#stats.map(readStats);
    return { total: sumStats(queues), queues, logDropped: this.#logs?.dropped ?? 0 };
  }

  /** Opens the backend and adds the device to the kernel. */
  create(options: { signal?: AbortSignal } = {}): Promise<void> {
    return this.#serially(async () => {
      if (this.#state !== "new") return;
      await this.#undoing(() => this.#create(options.signal));
      this.#state = "created";
    });
  }

  async #create(signal?: AbortSignal): Promise<void> {
    const settings = this.#settings;
    checkAborted(signal);
    this.#logs = new ThreadLogs(settings.logLevel, "");
    this.#threads = new Threads(settings.backend, this.#logs);
    // The caller's own mistakes first: a wrong backend is reported even where ublk is missing.
    this.#opened = await abortable(this.#threads.open(), signal);
    this.#control = await Control.open({ signal });
    const { traits } = this.#opened;
    const plan = planDevice(
      { ...settings, dataPaths: traits.address ? ["get-data", "copy"] : ["copy"] },
      this.#control.features,
      navigator.hardwareConcurrency,
    );
    // Not with the signal: a command given up half way may still add a device that nobody knows.
    const info = await this.#control.addDev(plan.info);
    // From here on there is something to undo, even if the grant cannot be used.
    this.#id = info.dev_id;
    this.#grant = readGrant(plan, info);
    for (const reduction of this.#grant.reductions) logLine(30, reduction);
    await this.#control.setParams(
      this.id,
      ublkParams({
        ...traits,
        sizeBytes: traits.size,
        maxIoBytes: this.#grant.maxIoBytes,
        readOnly: traits.readOnly || settings.readOnly,
        maxTrimBytes: MAX_RANGE_BYTES,
        maxWriteZeroesBytes: MAX_RANGE_BYTES,
      }),
      { signal },
    );
  }

  /** Fetches every tag and makes the disk appear; resolves once it can be opened. */
  start(options: { signal?: AbortSignal } = {}): Promise<void> {
    return this.#serially(async () => {
      if (this.#state === "live") return;
      if (this.#state !== "created") throw wrongState("start", this.#state);
      await this.#undoing(() => this.#start(options.signal));
      this.#live();
    });
  }

  async #start(signal?: AbortSignal): Promise<void> {
    const { deadlineMs, paranoid } = this.#settings;
    const { id, queues, depth, maxIoBytes, dataPath } = this.#grant!;
    const control = this.#control!;
    checkAborted(signal);
    this.#charFd = await openCharDevice(id, NODE_TIMEOUT_MS, signal);
    const affinity: number[][] = [];
    for (let queue = 0; queue < queues; queue++) {
      affinity.push(await control.getQueueAffinity(id, queue, { signal }));
      this.#stats.push(createStatsBuffer());
    }
    const path = dataPath as DataPathName;
    const order = {
      device: id,
      charFd: this.#charFd,
      depth,
      maxIoBytes,
      path,
      deadlineMs,
      paranoid,
    };
    const serving = this.#threads!.serve(
      order,
      this.#stats,
      affinity,
      (error) => this.#fail(error),
    );
    await abortable(serving, signal);
    // Whatever ends the threads now also ends the wait for the disk, with the true cause.
    const ended = new AbortController();
    this.#threads!.stopped.then((reason) => ended.abort(reason ?? removedError(id)));
    const signals = signal === undefined ? [ended.signal] : [ended.signal, signal];
    const either = { signal: AbortSignal.any(signals) };
    try {
      await control.startDev(id, Deno.pid, either);
      await probeBlockDevice(id, NODE_TIMEOUT_MS, either.signal);
    } catch (error) {
      throw ended.signal.aborted ? ended.signal.reason : error;
    }
  }

  #live(): void {
    this.#state = "live";
    this.#threads!.stopped.then((error) => this.#servingEnded(error));
  }

  /**
   * Makes the disk disappear. What is dirty is written first, and requests that the backend holds
   * get a few seconds more.
   *
   * @throws {UblkError} `DEVICE_BUSY` with `safe`; what failed, if the device failed: then dirty
   *   data may be lost.
   */
  stop(options: StopOptions = {}): Promise<void> {
    return this.#serially(async () => {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#state === "stopped" || this.#state === "deleted") return;
      if (this.#state !== "live") throw wrongState("stop", this.#state);
      await this.#stop(options);
    });
  }

  async #stop(options: StopOptions): Promise<void> {
    this.#state = "stopping";
    try {
      await this.#stopKernel(options);
      const reason = await this.#threads!.stopped;
      if (reason !== undefined) this.#fail(reason);
    } catch (error) {
      if (this.#failure !== undefined) throw this.#failure;
      // It was refused, or the caller no longer waits: the device lives on, until its threads say
      // otherwise.
      this.#live();
      throw error;
    }
    if (this.#failure !== undefined) throw this.#failure;
    this.#release();
    this.#state = "stopped";
  }

  async #stopKernel({ safe = false, signal }: StopOptions): Promise<void> {
    checkAborted(signal);
    const control = this.#control!;
    if (safe) return await control.tryStopDev(this.id, { signal });
    const ended = new AbortController();
    this.#threads!.stopped.then(() => ended.abort());
    // STOP_DEV waits in the kernel for every request that a thread holds, and nothing can interrupt
    // it. So it is sent only when each thread has shown that it still listens.
    await this.#threads!.drain(ended.signal);
    await stopDevice(control, this.id, () => answered(this.stats().total), signal);
  }

  /** Stops the device if need be, removes it from the kernel and closes the backend. */
  delete(options: { signal?: AbortSignal } = {}): Promise<void> {
    return this.#serially(async () => {
      if (this.#state === "deleted") return;
      if (this.#state === "live") await this.#stop(options);
      try {
        await this.#remove();
        this.#close({ reason: "deleted" });
      } catch (error) {
        this.#close({ reason: "failed", error: error as UblkError });
        throw error;
      }
    });
  }

  /** Stops and deletes. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.delete();
  }

  /**
   * Steps run one after the other, in the order in which they were called; and not beside the
   * removal of a device that has failed.
   */
  #serially<T>(step: () => Promise<T>): Promise<T> {
    const run = (this.#last ?? Promise.resolve()).then(async () => {
      await this.#failing;
      const running = step();
      this.#running = running.catch(() => {});
      return await running;
    });
    this.#last = run.catch(() => {});
    return run;
  }

  async #undoing(step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (thrown) {
      await this.#threads?.abandon(GRACE_MS).catch((reason) => logLine(40, `${reason.message}`));
      await this.#remove().catch((reason) => logLine(40, `undo: ${reason.message}`));
      // Where a stuck backend was the cause, that is what the caller should hear.
      const error = this.#failure ?? thrown;
      this.#close({ reason: "failed", error: error instanceof UblkError ? error : undefined });
      throw error;
    }
  }

  /** All threads have left although nobody here asked them to, or one of them failed. */
  #servingEnded(error: UblkError | undefined): void {
    if (this.#state !== "live") return;
    if (error !== undefined) return this.#fail(error);
    this.#serially(async () => {
      if (this.#state !== "live") return;
      this.#state = "stopping";
      await this.#remove();
      this.#close({ reason: "removed" });
    }).catch((reason) => this.#close({ reason: "failed", error: reason }));
  }

  /**
   * Takes the device away from a server that cannot go on. It does not queue up behind the step
   * that is running, since that may be waiting for the very requests that are stuck.
   */
  #fail(error: UblkError): void {
    if (this.#failure !== undefined || this.#state === "deleted") return;
    this.#failure = error;
    this.#state = "stopping";
    logLine(40, error.message);
    const running = this.#running;
    this.#failing = (async () => {
      await this.#threads!.abandon(GRACE_MS);
      this.#release();
      await running;
      await this.#remove();
    })().catch((reason) => logLine(40, `${reason.message}`))
      .finally(() => this.#close({ reason: "failed", error }));
  }

  #release(): void {
    if (this.#charFd < 0) return;
    // DEL_DEV waits until the char device is closed everywhere.
    closeFd(this.#charFd);
    this.#charFd = -1;
  }

  /** Removes everything, once, whatever of it fails; and throws the first that did. */
  #remove(): Promise<void> {
    return this.#removal ??= (async () => {
      this.#release();
      const results = [
        ...await Promise.allSettled([this.#deleteFromKernel()]),
        ...await Promise.allSettled([this.#threads?.close(GRACE_MS)]),
      ];
      this.#logs?.[Symbol.dispose]();
      await this.#control?.[Symbol.asyncDispose]();
      this.#state = "deleted";
      const failed = results.find((result) => result.status === "rejected");
      if (failed !== undefined) throw failed.reason;
    })();
  }

  async #deleteFromKernel(): Promise<void> {
    if (this.#id >= 0) await deleteDevice(this.#control!, this.#id);
  }
}

/** Requests answered so far: a number that changes while a device gets on. */
function answered(total: DeviceStats["total"]): number {
  const { reads, writes, flushes, discards, writeZeroes, others, errors } = total;
  return reads + writes + flushes + discards + writeZeroes + others + errors;
}

function removedError(id: number): UblkError {
  return new UblkError("DEVICE_NOT_FOUND", {
    operation: "start",
    device: id,
    reason: "somebody has deleted it meanwhile",
    hint: "start again",
  });
}

function wrongState(step: string, state: DeviceState): UblkError {
  return new UblkError("INVALID_ARGUMENT", {
    operation: step,
    reason: `the device is ${state}`,
    hint: "its steps are create, start, stop, delete, in this order",
  });
}
