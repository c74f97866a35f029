/**
 * The states of a disk's extents: `base:allocation`.
 *
 * @module
 */

import type { DiskHost } from "../disk/host.ts";
import type { Range } from "./disk.ts";
import { NBD_STATE_HOLE, NBD_STATE_ZERO } from "./protocol.ts";
import type { StatusExtent } from "./replies.ts";

/** Most extents of a reply. The client asks again for the rest. */
const MOST_EXTENTS = 4096;
/** Most questions to the disk for a reply: one that answers at once leaves no turn to others. */
const MOST_QUESTIONS = 16384;

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
): Promise<readonly StatusExtent[] | number> {
  const found: { length: number; state: number }[] = [];
  for (let [at, questions] = [0, 0]; at < length && questions < MOST_QUESTIONS; questions++) {
    const extent = await host.extentAt(offset + at, length - at);
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
