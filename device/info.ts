/**
 * What a device tells of itself.
 *
 * @module
 */

import type { Stats } from "../queue/stats.ts";
import type { UblkError } from "../uapi/error.ts";

/** Where a device is in its life. */
export type DeviceState = "new" | "created" | "live" | "stopping" | "stopped" | "deleted";

/** How a device ended. */
export interface Closed {
  /** `"deleted"` by its owner, `"removed"` by somebody else, or `"failed"`. */
  readonly reason: "deleted" | "removed" | "failed";
  /** What failed. */
  readonly error?: UblkError;
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
  /** Requests per queue, as granted. */
  readonly depth: number;
  /** The largest request in bytes, as granted. */
  readonly maxIoBytes: number;
  /** How data travels: `"get-data"`, `"ring"` or `"copy"`. */
  readonly dataPath: string;
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
