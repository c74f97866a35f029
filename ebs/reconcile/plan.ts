/**
 * The next step that brings together what is recorded of a volume and what is true of it on one node.
 *
 * Each step changes one thing, may be made again, and may be the last one of a node that dies: whoever
 * looks next finds another pair, for which there is a step too.
 *
 * @module
 */

import type { RecordedWish } from "./wanted.ts";

/** What the record of a volume asks of a node. */
export type Wish =
  /** To have it mounted. */
  | "attach"
  /** To delete it. */
  | "delete"
  /** Nothing: there is no record, or it is about another node, or about none. */
  | "nothing";

/** What is true of a volume on a node. */
export interface Actual {
  /** The node has it mounted. */
  readonly isMounted: boolean;
  /** The node has its claim, and has not lost it. */
  readonly isClaimed: boolean;
  /** The store has it. Only deletions ask. */
  readonly exists: boolean;
}

/** A step. */
export type Step =
  /** Claim it. Refused as long as another node has it. */
  | "claim"
  /** Mount it, under the claim. */
  | "mount"
  /** End the mount, in order if the claim is there, and at once if it is lost. */
  | "unmount"
  /** Give up the claim. */
  | "release"
  /** Delete it from the store, under the claim. */
  | "destroy"
  /** Delete the record, whose deletion is done. */
  | "forget"
  /** Nothing is left to do. */
  | "rest";

/** The next step. */
export function nextStep(wish: Wish, { isMounted, isClaimed, exists }: Actual): Step {
  // Before anything else: another node may have it by now.
  if (isMounted && !isClaimed) return "unmount";
  switch (wish) {
    case "attach":
      if (!isClaimed) return "claim";
      return isMounted ? "rest" : "mount";
    case "delete":
      if (isMounted) return "unmount";
      if (exists) return isClaimed ? "destroy" : "claim";
      return isClaimed ? "release" : "forget";
    case "nothing":
      if (isMounted) return "unmount";
      return isClaimed ? "release" : "rest";
  }
}

/** What a record asks of a node. */
export function wishOf(record: RecordedWish | undefined, node: string): Wish {
  if (record?.wanted.node !== node) return "nothing";
  const { state } = record.wanted;
  return state === "attached" ? "attach" : state === "deleted" ? "delete" : "nothing";
}
