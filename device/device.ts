/**
 * The life of a device: the order of its steps, and how each is undone.
 *
 * `create` opens the backend and adds the device; `start` fetches every tag and makes the disk
 * appear; `stop` makes it disappear, flushed; `delete` gives the id back. Each may be called twice,
 * and a step that fails undoes itself and those before it.
 *
 * @module
 */

import { beginStep } from "../ctrl/pace.ts";
import { sumStats } from "../queue/stats.ts";
import { assert, UblkError } from "../uapi/error.ts";
import { featureNames } from "../uapi/features.ts";
import { checkAborted } from "./abort.ts";
import { adoptDevice } from "./adopt.ts";
import { addDevice, type Basis, bringUp } from "./begin.ts";
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
import { GRACE_MS } from "./member.ts";
import { blockPath, charPath } from "./node.ts";
import type { DeviceOptions, RecoverOptions, Settings } from "./options.ts";
import { settingsOf } from "./settings.ts";
import { resizeDevice } from "./resize.ts";
import { stopDevice, syncDisks, tryStopDevice } from "./stop.ts";
import { sendTelemetry } from "./telemetry.ts";
import { Threads } from "./threads.ts";

/** A device and everything that serves it. */
export class Device implements AsyncDisposable {
  /** Resolves once this process serves the device no more, with how that came about. */
  readonly closed: Promise<Closed>;

  readonly #settings: Settings;
  readonly #close: (closed: Closed) => void;
  readonly #held = new Holdings();
  #state: DeviceState = "new";
  #basis?: Basis;
  /** Bytes of the disk. */
  #size = 0;
  #wasLive = false;
  /** How the device that is to be recovered may be so; undefined for a new one. */
  #adopting?: { readonly allowVolatile: boolean };
  /** The last step that was asked for. */
  #last?: Promise<unknown>;
  /** The step that is under way, or was last. */
  #running?: Promise<unknown>;
  #failure?: UblkError;
  #failing?: Promise<void>;

  /** Checks the options and does nothing else. */
  constructor(options: DeviceOptions) {
    this.#settings = settingsOf(options);
    const { promise, resolve } = Promise.withResolvers<Closed>();
    this.closed = promise;
    this.#close = resolve;
  }

  /**
   * Serves a device that another server has left: see {@linkcode recover}, which most programs want
   * instead. Its steps `create` and `start` are done.
   */
  static async recover(id: number, options: RecoverOptions): Promise<Device> {
    // How many queues it has is not known yet.
    const device = new Device({ ...options, id: checkedId(id), queues: 0 });
    device.#adopting = { allowVolatile: options.allowVolatile === true };
    await device.create(options);
    await device.start(options);
    return device;
  }

  /** Where the device is in its life. */
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

  /** What the device is. After `create`. */
  info(): DeviceInfo {
    if (this.#basis === undefined) throw wrongState("info", this.#state);
    const { grant, opened, readOnly, batch, recovery } = this.#basis;
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
    };
  }

  /** What the device has done so far. */
  stats(): DeviceStats {
    const queues = this.#held.threads?.stats() ?? [];
    return { total: sumStats(queues), queues, logDropped: this.#held.logs?.dropped ?? 0 };
  }

  /**
   * Whether each serving thread has got something done since this was last asked, or has nothing to
   * do. False for long means that a backend is stuck: what a watchdog wants to know.
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
    held.threads = new Threads(settings.backend, held.logs);
    if (this.#adopting === undefined) {
      this.#basis = await addDevice(held, settings, signal);
    } else {
      held.id = settings.id!;
      this.#basis = await adoptDevice(held, settings, this.#adopting.allowVolatile, signal);
    }
    this.#size = this.#basis.sizeBytes;
    assert(held.id >= 0 && this.#size > 0, "the kernel has the device, and it has a size");
  }

  /** Fetches every tag and makes the disk appear; resolves once it can be opened. */
  start(options: { signal?: AbortSignal } = {}): Promise<void> {
    return this.#serially("start", async () => {
      if (this.#state === "live") return;
      if (this.#state !== "created") throw wrongState("start", this.#state);
      const onStuck = (error: UblkError) => this.#fail(error);
      const progress = () => answered(this.stats().total);
      await this.#undoing(() =>
        bringUp(this.#held, this.#settings, this.#basis!, onStuck, progress, options.signal)
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
   * Changes the size of the live disk and of its backend, in bytes. Whoever shrinks a disk must
   * know that nobody uses what is cut off.
   *
   * @throws {UblkError} `INVALID_ARGUMENT` where the size or the backend does not allow it,
   *   `KERNEL_TOO_OLD` before Linux 6.16, or what the backend says; a disk that was to grow has then
   *   kept its size.
   */
  resize(bytes: number): Promise<void> {
    return this.#serially("resize", async () => {
      if (this.#state !== "live") throw wrongState("resize", this.#state);
      const { opened } = this.#basis!;
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
   * Makes the disk disappear. What is dirty is written first, and requests that the backend holds
   * get a few seconds more.
   *
   * @throws {UblkError} `DEVICE_BUSY` with `safe`; what failed, if the device failed: then dirty
   *   data may be lost.
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
      // It was refused, or the caller no longer waits: the device lives on, until its threads say
      // otherwise.
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
    const { recovery } = this.#basis!;
    if (recovery === "queue" || recovery === "reissue") {
      const signals = signal === undefined ? [ended.signal] : [ended.signal, signal];
      await syncDisks(progress, AbortSignal.any(signals));
      checkAborted(signal);
    }
    if (safe) return await tryStopDevice(control, this.id, signal);
    // STOP_DEV waits in the kernel for every request that a thread holds, and nothing can interrupt
    // it. So it is sent only when each thread has shown that it still listens.
    await threads.drain(ended.signal);
    await stopDevice(control, this.id, progress, signal);
  }

  /**
   * Stops the device if need be, removes it from the kernel and closes the backend. A device that
   * this process has let go of is no longer its to delete, and stays.
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
   * Steps run one after the other, in the order in which they were called; and not beside the
   * removal of a device that has failed. Whatever they throw leaves as a {@linkcode UblkError}.
   */
  #serially<T>(name: string, step: () => Promise<T>): Promise<T> {
    const run = (this.#last ?? Promise.resolve()).then(async () => {
      await this.#failing;
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
      // Where a stuck backend was the cause, that is what the caller should hear.
      const error = this.#failure ?? this.#known(thrown, "serve");
      this.#closeFailed(error, keep);
      throw error;
    }
  }

  /**
   * Whether the device is not this process's to delete: it was there before, and its recovery has
   * not been completed.
   */
  #mustStay(): boolean {
    return this.#adopting !== undefined && !this.#wasLive;
  }

  /** All threads have left although nobody here asked them to, or one of them failed. */
  #servingEnded(error: UblkError | undefined): void {
    if (this.#state !== "live") return;
    if (error !== undefined) return this.#fail(error);
    this.#serially("delete", async () => {
      if (this.#state !== "live") return;
      this.#become("stopping");
      const quiesced = this.#basis!.recovery !== undefined && await this.#held.outlives();
      await this.#release(quiesced);
      if (quiesced) this.#close({ reason: "quiesced", recoverable: true });
      else this.#close({ reason: "removed" });
    }).catch((reason) => this.#close({ reason: "failed", error: reason }));
  }

  /**
   * Takes the device away from a server that cannot go on: it is deleted, or waits for another
   * server if it can be recovered. That does not queue up behind the step that is running, since
   * that may be waiting for the very requests that are stuck.
   */
  #fail(error: UblkError): void {
    if (this.#failure !== undefined || isOver(this.#state)) return;
    // One that its owner stops is to go in any case.
    const keep = this.#mustStay() ||
      this.#state === "live" && this.#basis!.recovery !== undefined;
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

  /** Lets go of everything; unless it is to stay, the device goes too. */
  async #release(keepDevice: boolean): Promise<void> {
    try {
      await this.#held.release(keepDevice, this.#settings.deadlineMs);
    } finally {
      this.#become(keepDevice ? "released" : "deleted");
    }
    // Of one that was refused from the start there is nothing to tell.
    if (keepDevice && this.#basis !== undefined) {
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

/** The states that may come after each. */
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

/** Whether nothing is left to stop. */
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
