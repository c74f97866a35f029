/**
 * Which chunks are so sparse that what they have is moved, so that they can go.
 *
 * With random overwrites, a chunk loses its data little by little. To move all that is left of a chunk
 * costs as much writing as that is; what it frees is the rest. So those with the least go first, and
 * only as long as the store has much more than is needed: then few of them have more than a third
 * left, and each byte written costs about half a byte more.
 *
 * @module
 */

import type { Collected, HeldChunk } from "./collect.ts";

/** How sparse chunks may be, and how much is moved. */
export interface SparsePolicy {
  /** Nothing is moved while the chunks have at most so many times what is needed. */
  readonly beginsAt: number;
  /** No more is moved once they have at most so many times what is needed. */
  readonly endsAt: number;
  /** A chunk of which at least this part is needed stays. */
  readonly part: number;
  /** Most bytes of data that are moved at once. */
  readonly mostBytes: number;
}

/** Beside a drain. */
export const BESIDE_DRAIN: SparsePolicy = {
  ...{ beginsAt: 1.5, endsAt: 1.4, part: 0.5, mostBytes: 16 << 20 },
};

/** When somebody asks for it. */
export const ON_REQUEST: SparsePolicy = {
  ...{ beginsAt: 1.1, endsAt: 1.05, part: 0.9, mostBytes: 64 << 20 },
};

/** The chunks whose data is to be moved. */
export function sparseChunks(
  { held, storedBytes, neededBytes }: Pick<Collected, "held" | "storedBytes" | "neededBytes">,
  { beginsAt, endsAt, part, mostBytes }: SparsePolicy,
): Set<number> {
  const chunks = new Set<number>();
  if (storedBytes <= beginsAt * neededBytes) return chunks;
  const partOf = ({ neededBytes, bytes }: HeldChunk) => neededBytes / bytes;
  let surplus = storedBytes - endsAt * neededBytes;
  let left = mostBytes;
  const sorted = held.filter((one) => partOf(one) < part).sort((a, b) => partOf(a) - partOf(b));
  for (const { chunk, bytes, neededBytes } of sorted) {
    if (surplus <= 0 || left <= 0) break;
    chunks.add(chunk);
    surplus -= bytes - neededBytes;
    left -= neededBytes;
  }
  return chunks;
}
