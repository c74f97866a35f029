/**
 * When a disk may become smaller: only if it loses nothing, now or later.
 *
 * Data beyond the new end must be discarded first, and the store must know that. Otherwise batches of
 * the journal would still speak of blocks that the disk has no more: the drain would drop them, and
 * after a crash and another resize, older data would be there again.
 *
 * @module
 */

import type { Maps } from "./maps.ts";

/** Why a disk cannot become smaller. */
export interface SizeRefusal {
  /** The cause. */
  readonly reason: string;
  /** The remedy. */
  readonly hint: string;
}

/** Requests that are not answered yet touch blocks beyond the new end. */
export const REQUESTS_BEYOND: SizeRefusal = {
  reason: "requests beyond the new end are under way",
  hint: "try again once nobody uses that part",
};
const DATA_BEYOND: SizeRefusal = {
  reason: "there is data beyond the new end",
  hint: "discard it first",
};
const UNSTORED: SizeRefusal = {
  reason: "the store does not know yet that blocks beyond the new end were discarded",
  hint: "try again after `ublk-volume sync`",
};

/** Why a disk cannot end at a block; undefined if it can. */
export function refusalOf(maps: Maps, blocks: number): SizeRefusal | undefined {
  if (blocks >= maps.blocks || !maps.knowsFrom(blocks)) return undefined;
  return maps.areHoles(blocks, maps.blocks - blocks) ? UNSTORED : DATA_BEYOND;
}
