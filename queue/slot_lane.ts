/**
 * The part of a thread's slots that the express lane reads and writes by itself.
 *
 * @module
 */

import type { QueueStats } from "./stats.ts";

/** See the module. */
export interface SlotLane {
  /** The words of the descriptors: all slots are of one queue. */
  readonly words: Uint32Array<ArrayBuffer>;
  /** Where each slot's `ublksrv_io_desc` begins among them. */
  readonly descriptorWords: Uint32Array<ArrayBuffer>;
  /** The counters of the queue. */
  readonly stats: QueueStats;
  /** Whether each slot has a request: */
  readonly states: Uint8Array<ArrayBuffer>;
  /** it has; who writes this counts it in `Slots.held`. */
  readonly held: number;
  /** It has not. */
  readonly idle: number;
  /** The number of the first of the slots' own SQEs for commands, which name their places already. */
  readonly commits: number;
}
