/**
 * The request for a disk, from a command line, a file of options or a record. It is plain data,
 * which a record keeps so that the same disk can be made again.
 *
 * @module
 */

import type { DeviceOptions } from "../../device/options.ts";
import type { GivenOptions } from "../../disk/wrapper.ts";

/** The options of a device that a request can contain. */
export type ServingOptions = Omit<DeviceOptions, "backend" | "signal" | "signals">;

/** Options of the server's process. */
export interface ProcessOptions {
  /** Lock all memory on first touch. */
  readonly mlock: boolean;
  /** `PR_SET_IO_FLUSHER` for every thread. */
  readonly ioFlusher: boolean;
  /** `/proc/PID/oom_score_adj`; unchanged if undefined. */
  readonly oomScore: number | undefined;
  /** The CPUs for all threads; unchanged if undefined. */
  readonly cpus: readonly number[] | undefined;
}

/** A disk as requested. All paths are absolute. */
export interface DiskRequest {
  /** The target's name, or the URL of a module. */
  readonly target: string;
  /** The target's own options, and those device options that it wants to know. */
  readonly values: Readonly<Record<string, unknown>>;
  /** Its files. */
  readonly files: readonly string[];
  /** The wrappers and their options, outermost first. */
  readonly wraps: readonly { readonly name: string; readonly options: GivenOptions }[];
  /** The options of the device that differ from the defaults. */
  readonly device: ServingOptions;
  /** The options of the server's process. */
  readonly process: ProcessOptions;
  /** The address for metrics; none if omitted. */
  readonly metrics?: string;
}
