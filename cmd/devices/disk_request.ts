/**
 * The request for a disk, whether it came from a command line, a file of options or a record. Plain
 * data: a record keeps it, so that the same disk can be made again.
 *
 * @module
 */

import type { DeviceOptions } from "../../device/options.ts";
import type { GivenOptions } from "../../disk/wrapper.ts";

/** The options of a device that a request can have. */
export type ServingOptions = Omit<DeviceOptions, "backend" | "signal" | "signals">;

/** Options of the server's process. */
export interface ProcessOptions {
  /** Lock all memory, on first touch. */
  readonly mlock: boolean;
  /** `PR_SET_IO_FLUSHER` for every thread. */
  readonly ioFlusher: boolean;
  /** `/proc/PID/oom_score_adj`; as it is where undefined. */
  readonly oomScore: number | undefined;
  /** The CPUs that any thread may run on; as it is where undefined. */
  readonly cpus: readonly number[] | undefined;
}

/** A disk as it was asked for. All paths are absolute. */
export interface DiskRequest {
  /** The target's name, or the URL of a module. */
  readonly target: string;
  /** The target's own options, and those of every device that it wants to know. */
  readonly values: Readonly<Record<string, unknown>>;
  /** Its files. */
  readonly files: readonly string[];
  /** Wrappers, the outermost first, and their options. */
  readonly wraps: readonly { readonly name: string; readonly options: GivenOptions }[];
  /** The device, as far as it was not left to the defaults. */
  readonly device: ServingOptions;
  /** The server's process. */
  readonly process: ProcessOptions;
  /** Where metrics are served; nowhere if left out. */
  readonly metrics?: string;
}
