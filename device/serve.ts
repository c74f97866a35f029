/**
 * `serve()`: a backend becomes a disk.
 *
 * @module
 */

import { Device } from "./device.ts";
import type { Closed, DeviceInfo, DeviceState, DeviceStats } from "./info.ts";
import type { DeviceOptions } from "./options.ts";

/** A disk that is being served. */
export interface ServedDevice extends AsyncDisposable {
  /** The disk: `/dev/ublkbN`. */
  readonly path: string;
  /** Its N. */
  readonly id: number;
  /** Where it is in its life. */
  readonly state: DeviceState;
  /** Resolves once the device is gone, with how that came about. Never rejects. */
  readonly closed: Promise<Closed>;
  /** What the device is. */
  info(): DeviceInfo;
  /** What the device has done so far. */
  stats(): DeviceStats;
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
 * Needs Linux 6.5 or newer with the module `ublk_drv`, root, and of Deno
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
  const device = new Device(options);
  await device.create(options);
  await device.start(options);
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
    async stop(stopOptions) {
      await device.stop(stopOptions);
      await device.delete(stopOptions);
    },
    [Symbol.asyncDispose]: () => device.delete(),
  };
}
