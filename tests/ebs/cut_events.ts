/**
 * The words between the nodes whose networks are cut and whoever cuts them.
 *
 * @module
 */

import type { NodeName } from "./namespaces.ts";

/** A node's options. */
export interface CutNodeOptions {
  readonly node: NodeName;
  /** The URL of the server of claims. */
  readonly nats: string;
  readonly storeUrl: string;
  /** The folder of its journals. */
  readonly journal: string;
  /** The life of a claim, in milliseconds. */
  readonly ttlMs: number;
  /** The store's lease. */
  readonly leaseSeconds: number;
  /** When a flush is answered. */
  readonly durability: "local" | "store";
}

/** The moments at which a network may be cut: as soon as a node tells of one. */
export const PHASES = [
  ...["claiming", "opening", "renewing", "writing", "flushing", "closing", "releasing"] as const,
];

/** What a node does. */
export interface NodeEvent {
  readonly node: string;
  /** Milliseconds of the machine's clock since boot, which all nodes share. */
  readonly at: number;
  readonly event:
    | typeof PHASES[number]
    | "ready"
    | "refused"
    | "claimed"
    | "opened"
    | "flushed"
    | "synced"
    | "lost"
    | "failed"
    | "released"
    | "said";
  readonly generation?: number;
  /** The block, and what is written to it: a greater number than any before. */
  readonly block?: number;
  readonly value?: number;
  /**
   * What all blocks have when a node has opened the volume, -1 for a torn one; or what the store has of
   * them for good, once they are flushed, synced or released.
   */
  readonly values?: readonly number[];
  readonly line?: string;
}
