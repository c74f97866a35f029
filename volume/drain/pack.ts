/**
 * Packs what a commit has collected into chunks: sorted by block, each at most as large as the
 * volume's chunks.
 *
 * @module
 */

import { type ChunkOrigin, ChunkWriter, dataOffset, type Frame } from "../format/chunk.ts";
import { MAX_CHUNK_BLOCKS } from "../format/place.ts";
import type { Collection } from "./collect.ts";

/**
 * One less than a place can tell, so that the first place of a chunk never follows the last one of the
 * chunk before: an extent of the map is always in one chunk.
 */
const MOST_BLOCKS = MAX_CHUNK_BLOCKS - 1;

/** The blocks of a chunk to be. */
export interface PlannedChunk {
  /** Its frames. */
  readonly frames: readonly Frame[];
  /** Of each frame, which of the collected blocks its first one is; -1 for a hole. */
  readonly nths: readonly number[];
}

/**
 * Divides a collection into chunks of at most so many bytes.
 *
 * @param isSealed With room for seals.
 */
export function planChunks(
  collection: Pick<Collection, "runs">,
  blockSize: number,
  chunkSize: number,
  isSealed: boolean,
): PlannedChunk[] {
  const chunks: PlannedChunk[] = [];
  let frames: Frame[] = [];
  let nths: number[] = [];
  let blocks = 0;
  const room = (frameCount: number) => {
    const left = chunkSize - blocks * blockSize - dataOffset(frameCount, blocks, isSealed);
    // Another block may take another page of the table.
    let count = Math.min(MOST_BLOCKS - blocks, Math.max(0, Math.floor(left / blockSize)));
    while (
      count > 0 &&
      dataOffset(frameCount, blocks + count, isSealed) + (blocks + count) * blockSize > chunkSize
    ) count--;
    return count;
  };
  const finish = () => {
    if (frames.length > 0) chunks.push({ frames, nths });
    frames = [];
    nths = [];
    blocks = 0;
  };
  for (const { block, count, nth } of collection.runs()) {
    for (let done = 0; done < count;) {
      const most = nth < 0 ? count - done : Math.min(count - done, room(frames.length + 1));
      const fits = most > 0 &&
        dataOffset(frames.length + 1, blocks, isSealed) + blocks * blockSize <= chunkSize;
      if (!fits) {
        finish();
        continue;
      }
      frames.push({ block: block + done, count: most, hole: nth < 0 });
      nths.push(nth < 0 ? -1 : nth + done);
      if (nth >= 0) blocks += most;
      done += most;
    }
  }
  finish();
  return chunks;
}

/** Makes a planned chunk. */
export function makeChunk(
  planned: PlannedChunk,
  origin: ChunkOrigin,
  collection: Pick<Collection, "copy">,
  isSealed: boolean,
): ChunkWriter {
  const writer = new ChunkWriter(origin, planned.frames, isSealed);
  let at = 0;
  planned.frames.forEach(({ count, hole }, index) => {
    if (hole) return;
    collection.copy(planned.nths[index], count, writer.data(at));
    at += count;
  });
  writer.seal();
  return writer;
}
