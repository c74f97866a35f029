/**
 * `serve()`: makes a disk from a backend.
 *
 * @module
 */

import { abortable } from "./abort.ts";
import { within } from "./boundary.ts";
import { Device } from "./device.ts";
import { afterSignal, chosenSignals, endOnSignals } from "./end_signals.ts";
import {
  answered,
  type Closed,
  type DeviceInfo,
  type DeviceState,
  type DeviceStats,
} from "./info.ts";
import { logLine } from "./log.ts";
import type { DeviceOptions, RecoverOptions } from "./options.ts";
import { warnUsers } from "./users.ts";

/** A disk that is being served. */
export interface ServedDevice extends AsyncDisposable {
  /** The disk: `/dev/ublkbN`. */
  readonly path: string;
  /** Its N. */
  readonly id: number;
  /** The current stage of the life cycle. */
  readonly state: DeviceState;
  /**
   * Resolves with the outcome once this process no longer serves the device. Never rejects. The
   * device is gone then, unless it is `recoverable`.
   */
  readonly closed: Promise<Closed>;
  /** The device's properties. */
  info(): DeviceInfo;
  /** Counters of the work done so far. */
  stats(): DeviceStats;
  /**
   * Whether every serving thread has made progress since the last call, or is idle. Meant for
   * watchdogs.
   */
  responsive(): boolean;
  /**
   * Changes the size of the disk and its backend. Needs Linux 6.16 and a backend with `resize`.
   *
   * @param bytes The new size, a multiple of the block size.
   * @throws {UblkError} With the cause. A disk that failed to grow keeps its size.
   */
  resize(bytes: number): Promise<void>;
  /**
   * Stops and deletes the device. With `safe`, only if nobody has the disk open.
   *
   * @throws {UblkError} `DEVICE_BUSY` with `safe`; the device then stays live.
   */
  stop(options?: { safe?: boolean; signal?: AbortSignal }): Promise<void>;
}

/**
 * Makes a disk from a backend. Resolves once the disk can be opened.
 *
 * On SIGINT (Ctrl-C), SIGTERM and SIGHUP the device is deleted before the process ends; see
 * {@linkcode DeviceOptions.signals}.
 *
 * Needs Linux 6.5 or newer with the module `ublk_drv`, and root (or see `docs/unprivileged.md`).
 * Needs the Deno permissions `--allow-ffi --allow-read --allow-run=/bin/sh`: Workers read their
 * modules, and a shell probes the disk. `memory()` also needs `--allow-sys=systemMemoryInfo`.
 *
 * @throws {UblkError} One line that names cause and remedy. Nothing is left behind.
 *
 * @example A RAM disk
 * ```ts
 * import { memory, serve } from "@ublk/ublk";
 *
 * await using device = await serve({ backend: memory("1GiB") });
 * console.log(device.path); // "/dev/ublkb0"; gone at the end of this scope
 * ```
 */
export async function serve(options: DeviceOptions): Promise<ServedDevice> {
  return await within("serve", async () => {
    const device = new Device(options);
    return await untilSignal(options, options.recovery === undefined, async (signal) => {
      await device.create({ signal });
      await device.start({ signal });
      return device;
    });
  });
}

/**
 * Takes over a device whose server has died or lost it to `ublk quiesce`. The disk stays mounted and
 * open wherever it was, and waiting requests are answered now. Resolves once the disk can be opened.
 * The device must have been made with `recovery`.
 *
 * @param id The N of `/dev/ublkbN`.
 * @throws {UblkError} `DEVICE_NOT_FOUND`; `DEVICE_BUSY` if its server is alive; `INVALID_ARGUMENT`
 *   if it was made without recovery, or for another kind of backend. The device is left as it was
 *   and can still be recovered.
 *
 * @example
 * ```ts ignore
 * import { file, recover } from "@ublk/ublk";
 *
 * await using device = await recover(0, { backend: file("/srv/disk.img") });
 * ```
 */
export async function recover(id: number, options: RecoverOptions): Promise<ServedDevice> {
  return await within(
    "recover",
    () => untilSignal(options, false, (signal) => Device.recover(id, { ...options, signal })),
  );
}

/** Starts a device and registers the signals that end it. */
async function untilSignal(
  { signal: given, signals }: Pick<DeviceOptions, "signal" | "signals">,
  byDefault: boolean,
  start: (signal: AbortSignal | undefined) => Promise<Device>,
): Promise<ServedDevice> {
  const names = chosenSignals(signals ?? byDefault);
  if (names.length === 0) return served(await start(given));
  // A device that starts while a signal ends the others would be left behind.
  await abortable(afterSignal(), given);
  const interrupted = new AbortController();
  const starting = start(
    given === undefined ? interrupted.signal : AbortSignal.any([given, interrupted.signal]),
  );
  let live: Device | undefined;
  endOnSignals(names, {
    ended: starting.then((device) => (live = device).closed, () => {}),
    interrupt: (name) => interrupted.abort(new Error(name)),
    answered: () => live === undefined ? 0 : answered(live.stats().total),
    async end(name) {
      // A failed start has undone itself, and its caller gets the error.
      const device = await starting.catch(() => undefined);
      if (device === undefined) return;
      logLine(20, `${name}: stopping ${device.path}`);
      await warnUsers(device.id);
      await device.delete();
    },
  });
  try {
    return served(await starting);
  } catch (error) {
    // The signal is about to end the process; do not let this error do it first.
    if (interrupted.signal.aborted) await afterSignal();
    throw error;
  }
}

function served(device: Device): ServedDevice {
  return {
    get path() {
      return device.path;
    },
    get id() {
      return device.id;
    },
    get state() {
      return device.state;
    },
    closed: device.closed,
    info: () => device.info(),
    stats: () => device.stats(),
    responsive: () => device.responsive(),
    resize: (bytes) => device.resize(bytes),
    async stop(stopOptions) {
      await device.stop(stopOptions);
      await device.delete(stopOptions);
    },
    [Symbol.asyncDispose]: () => device.delete(),
  };
}
