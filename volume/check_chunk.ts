/**
 * Checks one chunk: its table, the sum of each block, and the map against it.
 *
 * @module
 */

import type { Counts } from "./findings.ts";
import {
  CHUNK_HEADER_BYTES,
  type ChunkTable,
  decodeChunkTable,
  tableBytesOf,
} from "./format/chunk.ts";
import { chunkOf, placeOf } from "./format/place.ts";
import { FormatError } from "./format/record.ts";
import { sumOf } from "./format/sum.ts";
import type { BlockMap } from "./map/block_map.ts";

/** A chunk to check. */
export interface ChunkParts {
  /** Its name. */
  readonly object: string;
  /** Its number. */
  readonly number: number;
  /** All of it. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The UUID that it has. */
  readonly volume: string;
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Takes what is found. */
  readonly counts: Counts;
}

/** A block map to compare a chunk with. */
export interface FramesParts extends Pick<ChunkParts, "object" | "number" | "counts"> {
  /** The block map. */
  readonly map: BlockMap;
  /** Takes the blocks that are where the map says. */
  readonly right: BlockMap;
}

/** Checks a chunk. @returns Its table; undefined if that is damaged. */
export function checkChunk(parts: ChunkParts): ChunkTable | undefined {
  const { object, number, bytes, volume, blockSize, counts } = parts;
  let table: ChunkTable;
  try {
    const tableBytes = tableBytesOf(bytes.subarray(0, CHUNK_HEADER_BYTES));
    table = decodeChunkTable(bytes.subarray(0, tableBytes), volume, number);
    if (table.length !== bytes.length) {
      throw new FormatError(`it has ${bytes.length} bytes, and not ${table.length}`);
    }
    if (table.blockSize !== blockSize) {
      throw new FormatError(`its blocks have ${table.blockSize} bytes`);
    }
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    counts.findings.push({ object, offset: 0, words: error.message });
    return undefined;
  }
  checkBlocks(parts, table);
  return table;
}

function checkBlocks(
  { object, bytes, counts }: ChunkParts,
  { sums, dataAt, blockSize }: ChunkTable,
): void {
  for (let nth = 0, at = dataAt; nth < sums.length; nth++, at += blockSize) {
    counts.blocks++;
    if (sumOf(bytes.subarray(at, at + blockSize)) === sums[nth]) continue;
    counts.findings.push({ object, offset: at, words: `block ${nth} has a wrong checksum` });
  }
}

/** Notes which blocks of the disk the chunk holds just where the map says. */
export function checkFrames(
  { object, number, map, right, counts }: FramesParts,
  { frames, sums }: ChunkTable,
): void {
  let nth = 0;
  let last = 0;
  for (const { block, count, hole } of frames) {
    if (block < last || count === 0 || !hole && nth + count > sums.length) {
      counts.findings.push({ object, offset: 0, words: "its frames are not in order" });
      return;
    }
    last = block + count;
    if (hole) continue;
    // The disk may have become smaller since.
    const end = Math.min(last, map.blocks);
    for (let at = block; at < end;) {
      const length = map.find(at, end - at);
      const { place } = map;
      const isRight = place >= 0 && chunkOf(place) === number &&
        place === placeOf(number, nth + at - block);
      if (isRight) right.set(at, length, 0);
      at += length;
    }
    nth += count;
  }
}
