/**
 * The properties and state of a device.
 *
 * @module
 */

import type { CounterReading } from "../disk/counters.ts";
import type { Stats } from "../queue/stats.ts";
import type { DataPathName } from "../uapi/data_path.ts";
import type { UblkError } from "../uapi/error.ts";
import type { RecoveryMode } from "./recovery_mode.ts";

/** The stage of a device's life cycle, from this process's point of view. */
export type DeviceState =
  | "new"
  | "created"
  | "live"
  | "stopping"
  | "stopped"
  | "deleted"
  /** This process has released the device, which still exists and waits for `recover`. */
  | "released";

/** The outcome of a device's service. */
export interface Closed {
  /**
   * `"deleted"` by its owner, `"removed"` by somebody else, `"failed"`, or `"quiesced"`: somebody
   * took it away from this process so that another may `recover` it.
   */
  readonly reason: "deleted" | "removed" | "failed" | "quiesced";
  /** The cause of a failure. */
  readonly error?: UblkError;
  /** The device still exists without a server, and waits for `recover`. */
  readonly recoverable?: boolean;
}

/** The properties of a device, as granted by the kernel. */
export interface DeviceInfo {
  /** The N of `/dev/ublkbN`. */
  readonly id: number;
  /** The disk's node. */
  readonly path: string;
  /** The node of the server's side. */
  readonly charPath: string;
  /** The current stage of the life cycle. */
  readonly state: DeviceState;
  /** Bytes. */
  readonly size: number;
  /** Bytes of a logical block. */
  readonly blockSize: number;
  /** Writes are refused. */
  readonly readOnly: boolean;
  /** Hardware queues, as granted. */
  readonly queues: number;
  /** Serving threads; 0 before `start`. */
  readonly threads: number;
  /** Requests per queue, as granted. */
  readonly depth: number;
  /** The largest request in bytes, as granted. */
  readonly maxIoBytes: number;
  /** The data path. */
  readonly dataPath: DataPathName;
  /** Many requests travel with one command. */
  readonly batch: boolean;
  /** The device's fate when its server dies; undefined: it is deleted. */
  readonly recovery?: RecoveryMode;
  /** Names of the `UBLK_F_*` flags in force. */
  readonly features: readonly string[];
  /** One sentence for each option of which the kernel granted less than requested. */
  readonly reductions: readonly string[];
  /** Lines of the backend about how it was opened: `Backend.warnings`. */
  readonly warnings: readonly string[];
}

/** Counters of a device's work. */
export interface DeviceStats {
  /** All queues together. */
  readonly total: Stats;
  /** Each queue. */
  readonly queues: readonly Stats[];
  /** Log records dropped because nobody drained them in time. */
  readonly logDropped: number;
  /** The counters that the backend has of its own; undefined if it has none. */
  readonly backend?: CounterReading;
}

/** Options of `stop`. */
export interface StopOptions {
  /** Refuse with `DEVICE_BUSY` while somebody has the disk open (Linux 7.0). */
  readonly safe?: boolean;
  /** Ends the wait. The kernel may still stop the device. */
  readonly signal?: AbortSignal;
}

/** Requests answered so far: a number that changes while a device makes progress. */
export function answered(total: DeviceStats["total"]): number {
  const { reads, writes, flushes, discards, writeZeroes, others, errors } = total;
  return reads + writes + flushes + discards + writeZeroes + others + errors;
}
