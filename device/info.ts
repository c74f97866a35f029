/**
 * What a device tells of itself.
 *
 * @module
 */

import type { Stats } from "../queue/stats.ts";
import type { DataPathName } from "../uapi/data_path.ts";
import type { UblkError } from "../uapi/error.ts";
import type { RecoveryMode } from "./recovery_mode.ts";

/** Where a device is in its life, as far as this process goes. */
export type DeviceState =
  | "new"
  | "created"
  | "live"
  | "stopping"
  | "stopped"
  | "deleted"
  /** This process has let go of it; the device itself goes on, and waits for `recover`. */
  | "released";

/** How a device's service ended. */
export interface Closed {
  /**
   * `"deleted"` by its owner, `"removed"` by somebody else, `"failed"`, or `"quiesced"`: somebody
   * has taken it away from this process, so that another may `recover` it.
   */
  readonly reason: "deleted" | "removed" | "failed" | "quiesced";
  /** What failed. */
  readonly error?: UblkError;
  /** The device is still there, without a server, and waits for `recover`. */
  readonly recoverable?: boolean;
}

/** What a device is, as granted by the kernel. */
export interface DeviceInfo {
  /** The N of `/dev/ublkbN`. */
  readonly id: number;
  /** The disk. */
  readonly path: string;
  /** The server's side. */
  readonly charPath: string;
  /** Where it is in its life. */
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
  /** How data travels. */
  readonly dataPath: DataPathName;
  /** Many requests travel with one command. */
  readonly batch: boolean;
  /** What becomes of it when its server dies; undefined where it goes too. */
  readonly recovery?: RecoveryMode;
  /** The names of the `UBLK_F_*` in force. */
  readonly features: readonly string[];
  /** Where the kernel granted less than was asked, in words. */
  readonly reductions: readonly string[];
}

/** What a device has done so far. */
export interface DeviceStats {
  /** All queues together. */
  readonly total: Stats;
  /** Each queue. */
  readonly queues: readonly Stats[];
  /** Log records that nobody drained in time. */
  readonly logDropped: number;
}

/** How `stop` is to go about it. */
export interface StopOptions {
  /** Refuse with `DEVICE_BUSY` while somebody has the disk open (Linux 7.0). */
  readonly safe?: boolean;
  /** Gives up waiting. The kernel may still stop the device. */
  readonly signal?: AbortSignal;
}

/** Requests answered so far: a number that changes while a device gets on. */
export function answered(total: DeviceStats["total"]): number {
  const { reads, writes, flushes, discards, writeZeroes, others, errors } = total;
  return reads + writes + flushes + discards + writeZeroes + others + errors;
}
