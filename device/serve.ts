/**
 * `serve()`: a backend becomes a disk.
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
  /** Where it is in its life. */
  readonly state: DeviceState;
  /**
   * Resolves once this process serves the device no more, with how that came about. Never rejects.
   * The device is gone then, unless it is `recoverable`.
   */
  readonly closed: Promise<Closed>;
  /** What the device is. */
  info(): DeviceInfo;
  /** What the device has done so far. */
  stats(): DeviceStats;
  /**
   * Whether each serving thread has got something done since this was last asked, or has nothing to
   * do: what a watchdog wants to know.
   */
  responsive(): boolean;
  /**
   * Changes the size of the disk and of its backend, in bytes: a multiple of the block size. Needs
   * Linux 6.16 and a backend with `resize`.
   *
   * @throws {UblkError} With the cause; a disk that was to grow has then kept its size.
   */
  resize(bytes: number): Promise<void>;
  /**
   * Stops the device and deletes it. With `safe`, only if nobody has it open.
   *
   * @throws {UblkError} `DEVICE_BUSY` with `safe`; the device then lives on.
   */
  stop(options?: { safe?: boolean; signal?: AbortSignal }): Promise<void>;
}

/**
 * Makes a disk out of a backend, and resolves once it can be opened.
 *
 * At Ctrl-C, SIGTERM and SIGHUP the device is deleted before the process ends: see
 * {@linkcode DeviceOptions.signals}.
 *
 * Needs Linux 6.5 or newer with the module `ublk_drv`, root (or `docs/unprivileged.md`), and of Deno
 * `--allow-ffi --allow-read --allow-run=/bin/sh` (the Workers' modules are read, and a shell probes
 * the disk), for `memory()` also `--allow-sys=systemMemoryInfo`.
 *
 * @throws {UblkError} One line that names the cause and the remedy; nothing is left behind.
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
 * Serves a device whose server has died, or has had it taken away (`ublk quiesce`): its disk stays
 * mounted and open wherever it was, and requests that wait are answered now. Resolves once it can
 * be opened. The device must have been made with `recovery`.
 *
 * @param id The N of `/dev/ublkbN`.
 * @throws {UblkError} `DEVICE_NOT_FOUND`; `DEVICE_BUSY` where its server is alive;
 *   `INVALID_ARGUMENT` where it was made without recovery, or for another kind of backend. The
 *   device is left as it was, and may still be recovered.
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

/** Starts a device, and has signals end it. */
async function untilSignal(
  { signal: given, signals }: Pick<DeviceOptions, "signal" | "signals">,
  byDefault: boolean,
  start: (signal: AbortSignal | undefined) => Promise<Device>,
): Promise<ServedDevice> {
  const names = chosenSignals(signals ?? byDefault);
  if (names.length === 0) return served(await start(given));
  // A device that began while a signal ends the others would be left behind.
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
      // What failed to start has undone itself, and its caller hears of it.
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
    // The process is about to end by the signal, and not by this error.
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
