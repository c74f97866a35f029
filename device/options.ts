/**
 * What a device is made from.
 *
 * @module
 */

import type { Backend } from "../backends/backend.ts";
import type { BackendSpec } from "../backends/spec.ts";
import { checkRanges } from "../ctrl/negotiate.ts";
import { UblkError } from "../uapi/error.ts";

/** Options of `serve()` and of a {@linkcode Device}. */
export interface DeviceOptions {
  /**
   * What to serve: a specification, opened in Workers; or a backend itself, which runs in this
   * thread. Code in this process must then not touch the device or anything mounted on it.
   */
  readonly backend: BackendSpec | Backend;
  /** The N of `/dev/ublkbN`; the kernel chooses where left out. */
  readonly id?: number;
  /** Hardware queues; 0 for one per CPU. Default: 1. */
  readonly queues?: number;
  /** Requests in flight per queue, 1 to 4096. Default: 128. */
  readonly depth?: number;
  /** The largest request in bytes: whole pages, 4096 to 32 MiB. Default: 512 KiB. */
  readonly maxIoBytes?: number;
  /** The kernel refuses writes, whatever the backend could do. */
  readonly readOnly?: boolean;
  /**
   * How long, in milliseconds, a backend may take over a request. A Promise that takes longer is
   * answered for with ETIMEDOUT; a method that does not return for so long costs the device.
   * Default: 20,000, which is below the kernel's own 30 s for unprivileged devices.
   */
  readonly deadlineMs?: number;
  /**
   * Catch backends that keep a buffer, at the price of a copy. (Those that declare `address` or
   * `ring` are lent none.)
   */
  readonly paranoid?: boolean;
  /** The lowest level that serving threads log, as in `@std/log`; 5 traces requests. Default: 20. */
  readonly logLevel?: number;
  /** Ends the start-up; everything is undone. */
  readonly signal?: AbortSignal;
}

/** Options with every default filled in. */
export type Settings =
  & Required<Omit<DeviceOptions, "id" | "readOnly" | "signal">>
  & Pick<DeviceOptions, "id">
  & { readonly readOnly: boolean };

/** The largest request unless the caller says otherwise, in bytes; ublksrv's default too. */
export const DEFAULT_MAX_IO_BYTES: number = 512 << 10;
/** The deadline unless the caller says otherwise, in milliseconds. */
export const DEFAULT_DEADLINE_MS = 20_000;
const MIN_DEADLINE_MS = 100;

/**
 * Fills in the defaults, and checks all that can be checked without a kernel.
 *
 * @throws {UblkError} `INVALID_ARGUMENT`.
 */
export function settingsOf(options: DeviceOptions): Settings {
  const { deadlineMs = DEFAULT_DEADLINE_MS } = options;
  if (!Number.isInteger(deadlineMs) || deadlineMs < MIN_DEADLINE_MS) {
    throw new UblkError("INVALID_ARGUMENT", {
      operation: "serve",
      reason: `deadlineMs ${deadlineMs} is out of range`,
      hint: `use a whole number of milliseconds from ${MIN_DEADLINE_MS}`,
    });
  }
  const settings = {
    backend: options.backend,
    id: options.id,
    queues: options.queues ?? 1,
    depth: options.depth ?? 128,
    maxIoBytes: options.maxIoBytes ?? DEFAULT_MAX_IO_BYTES,
    readOnly: options.readOnly === true,
    deadlineMs,
    paranoid: options.paranoid === true,
    logLevel: options.logLevel ?? 20,
  };
  checkRanges(settings);
  return settings;
}
