/**
 * The states of a disk's extents: `base:allocation`.
 *
 * @module
 */

import type { DiskHost } from "../disk/host.ts";
import type { Range } from "./disk.ts";
import { NBD_STATE_HOLE, NBD_STATE_ZERO } from "./protocol.ts";
import type { StatusExtent } from "./replies.ts";
import type { TurnLine } from "./turns.ts";

/** Most extents of a reply. The client asks again for the rest. */
const MOST_EXTENTS = 4096;
/** Most questions to the disk for a reply. Each costs a moment, and the client waits for all. */
const MOST_QUESTIONS = 16384;
/** Bytes of an extent while it is gathered: an object, and its place in a list. More than in a reply. */
const EXTENT_BYTES = 64;
/** Bytes of a reply besides extents, and more than those of its frame. */
const REPLY_BYTES = 64;

/**
 * The memory for the states of a range, until they are a reply, and for that.
 *
 * @param one See {@linkcode statusOf}.
 * @returns Bytes; less than a piece of the connection's memory.
 */
export function statusBytes({ traits }: DiskHost, { length }: Range, one: boolean): number {
  const most = one ? 1 : Math.min(MOST_EXTENTS, length / traits.blockSize);
  return REPLY_BYTES + most * EXTENT_BYTES;
}

/**
 * The states of a range. A disk that does not know its holes is all data.
 *
 * @param one Return only the first extent.
 * @returns At least one extent, or a negative errno.
 */
export async function statusOf(
  host: DiskHost,
  { offset, length }: Range,
  one: boolean,
  line: TurnLine,
): Promise<readonly StatusExtent[] | number> {
  const found: { length: number; state: number }[] = [];
  for (let [at, questions] = [0, 0]; at < length && questions < MOST_QUESTIONS; questions++) {
    const extent = await line.run(() => host.extentAt(offset + at, length - at));
    if (typeof extent === "number") return extent;
    at += extent.length;
    const state = extent.isHole ? NBD_STATE_HOLE | NBD_STATE_ZERO : 0;
    const last = found.at(-1);
    if (last?.state === state) last.length += extent.length;
    else if (last !== undefined && (one || found.length === MOST_EXTENTS)) break;
    else found.push({ length: extent.length, state });
  }
  return found;
}
