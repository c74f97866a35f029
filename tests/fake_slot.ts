/**
 * A tag of the fake driver, and the options of its device.
 *
 * @module
 */

import type { FakeKernel } from "../uring/fake_ring.ts";
import type { FakeFile } from "./fake_file.ts";
import type { FakeRequest } from "./fake_request.ts";

/** The data path, by the driver's feature flags. */
export type FakeDataMode =
  | "copy"
  | "needGetData"
  | "userCopy"
  | "zeroCopy"
  | "autoBuffers"
  /** Both of the previous two. */
  | "autoBuffersOrZeroCopy";

/** The char device's descriptor. */
export const FAKE_CHAR_FD = 3;

/** The state of a slot's command. */
export type SlotState =
  /** Never fetched. */
  | "new"
  /** The driver holds a command (`UBLK_IO_FLAG_ACTIVE`) and may complete it with a request. */
  | "active"
  /** With batch I/O: a request waits to be fetched. */
  | "queued"
  /** The server holds the request (`UBLK_IO_FLAG_OWNED_BY_SRV`). */
  | "server"
  /** As "server", but the server must ask for the WRITE's data. */
  | "needData"
  /** The driver completed the command with -ENODEV. */
  | "gone";

/** A tag of a queue, as the driver sees it. */
export interface Slot {
  state: SlotState;
  queue: number;
  tag: number;
  address: number;
  /** For automatic registration: the index in the low 16 bits, the flags above. */
  autoBuffer: number;
  /** Whether the driver has registered the request's pages. */
  isRegistered: boolean;
  request: FakeRequest | undefined;
  // The command that the driver holds.
  userData: number;
  kind: number;
  kernel: FakeKernel | undefined;
}

/** A slot that was never fetched. */
export function newSlot(queue: number, tag: number): Slot {
  const state = { state: "new", address: 0, autoBuffer: 0, isRegistered: false } as const;
  const command = { request: undefined, userData: 0, kind: 0, kernel: undefined };
  return { queue, tag, ...state, ...command };
}

/** Options of {@linkcode FakeUblk}. */
export interface FakeUblkOptions {
  /**
   * Hardware queues.
   *
   * @default 1
   */
  queues?: number;
  /** Tags per queue. */
  depth: number;
  /**
   * The data path.
   *
   * @default "copy"
   */
  data?: FakeDataMode;
  /** `UBLK_F_BATCH_IO`. */
  batch?: boolean;
  /** `UBLK_F_ZONED`. */
  zoned?: boolean;
  /** Bytes after which a FETCH's buffer counts as consumed, even if it has more. */
  fetchBytes?: number;
  /** Receives SQEs that are neither ublk commands nor reads of the eventfd for orders. */
  file?: FakeFile;
}

/** Faults to inject once: an errno or, for copies, a number of bytes copied. */
export interface FakeUblkFaults {
  /** The result of a copy by the server. */
  copy?: number;
  /** The errno of REGISTER_IO_BUF, or of the driver's own registration. */
  register?: number;
  /** The errno of UNREGISTER_IO_BUF. */
  unregister?: number;
  /** The tag whose element of a batch COMMIT is refused. */
  commitTag?: number;
}

/**
 * A failure of GET_DATA when memory is short. With `sectors` only that many are copied, and the server
 * sees only a shrunk descriptor. With `requeue` nothing is copied and the request leaves the tag. Then
 * the driver completes the GET_DATA that it still holds with the next request, until
 * {@linkcode FakeUblk.kickRequeued} brings the old one back.
 */
export type GetDataFault = { sectors: number } | "requeue";
