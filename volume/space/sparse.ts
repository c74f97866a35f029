/**
 * Which chunks are so sparse that what they have is moved, so that they can go.
 *
 * With random overwrites, a chunk loses its data little by little. To move all that is left of a chunk
 * costs as much writing as that is; what it frees is the rest. So those with the least go first, and
 * only as long as the store has much more than is needed: then few of them have much more than a
 * third left, and each byte written costs less than 0.6 bytes more.
 *
 * Less would not do. Of random overwrites at 1.6 times what is needed, the emptiest chunks have 0.36
 * left, which costs 0.56 bytes for each written. At 1.5 times it would be 0.42 and 0.72.
 *
 * @module
 */

import { dataOffset } from "../format/chunk.ts";
import type { Manifest } from "../format/manifest.ts";
import type { Collected, HeldChunk } from "./collect.ts";

/** Most blocks that are moved at once, if they are of more than one chunk: a commit names them all. */
const MOST_BLOCKS = 1 << 15;
/** Most growth that is expected, as a part of what is needed. */
const MOST_GROWTH = 1 / 16;

/** How sparse chunks may be, and how much is moved. */
export interface SparsePolicy {
  /** Nothing is moved while the chunks have at most so many times what is needed. */
  readonly beginsAt: number;
  /** No more is moved once they have at most so many times what is needed. */
  readonly endsAt: number;
  /** A chunk of which at least this part is needed stays. */
  readonly part: number;
  /** Most bytes of data that are moved at once, and held in memory, if they are of more than one chunk. */
  readonly mostBytes: number;
}

/** Beside a drain. */
export const BESIDE_DRAIN: SparsePolicy = {
  ...{ beginsAt: 1.57, endsAt: 1.57, part: 0.5, mostBytes: 64 << 20 },
};

/** When somebody asks for it. */
export const ON_REQUEST: SparsePolicy = {
  ...{ beginsAt: 1.1, endsAt: 1.05, part: 0.9, mostBytes: 64 << 20 },
};

/** Moving must make the store smaller by this part of what is moved: otherwise it would never end. */
const LEAST_GAIN = 1 / 8;

/**
 * The chunks whose data is to be moved.
 *
 * @param growth Bytes by which the store is expected to grow until they are gone.
 */
export function sparseChunks(
  { held, storedBytes, neededBytes, manifest }: Pick<
    Collected,
    "held" | "storedBytes" | "neededBytes" | "manifest"
  >,
  { beginsAt, endsAt, part, mostBytes }: SparsePolicy,
  growth = 0,
): Set<number> {
  const chunks = new Set<number>();
  const expected = storedBytes + Math.min(growth, neededBytes * MOST_GROWTH);
  if (expected <= beginsAt * neededBytes) return chunks;
  const partOf = ({ neededBytes, bytes }: HeldChunk) => neededBytes / bytes;
  const surplus = expected - endsAt * neededBytes;
  const most = Math.min(mostBytes, MOST_BLOCKS * manifest.blockSize);
  let [moved, before] = [0, 0];
  const sorted = held.filter((one) => partOf(one) < part).sort((a, b) => partOf(a) - partOf(b));
  for (const { chunk, bytes, neededBytes } of sorted) {
    if (before - moved >= surplus) break;
    if (chunks.size > 0 && moved + neededBytes > most) break;
    chunks.add(chunk);
    before += bytes;
    moved += neededBytes;
  }
  return before - bytesFor(moved, manifest) > LEAST_GAIN * moved ? chunks : new Set();
}

/** Most bytes of the chunks that data takes. */
function bytesFor(
  bytes: number,
  { blockSize, chunkSize }: Pick<Manifest, "blockSize" | "chunkSize">,
): number {
  const sizeOf = (blocks: number) => dataOffset(blocks, blocks) + blocks * blockSize;
  let most = Math.floor(chunkSize / blockSize);
  while (most > 1 && sizeOf(most) > chunkSize) most--;
  const blocks = bytes / blockSize;
  const rest = blocks % most;
  return Math.floor(blocks / most) * sizeOf(most) + (rest === 0 ? 0 : sizeOf(rest));
}
