/**
 * The part of a thread's slots that the express lane reads and writes directly.
 *
 * @module
 */

import type { QueueStats } from "./stats.ts";

/** The slots' part of the express lane. */
export interface SlotLane {
  /** The words of the descriptors. All slots belong to one queue. */
  readonly words: Uint32Array<ArrayBuffer>;
  /** The index of each slot's `ublksrv_io_desc`, in words. */
  readonly descriptorWords: Uint32Array<ArrayBuffer>;
  /** The queue's counters. */
  readonly stats: QueueStats;
  /** The state of each slot: {@linkcode held} or {@linkcode idle}, among others. */
  readonly states: Uint8Array<ArrayBuffer>;
  /** State of a slot with a request. The writer of it also updates `Slots.held`. */
  readonly held: number;
  /** State of a slot without a request. */
  readonly idle: number;
  /** The number of the first of the slots' own SQEs for commands. Their addresses are filled in. */
  readonly commits: number;
}
