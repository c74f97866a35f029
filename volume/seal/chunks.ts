/**
 * Chunks, sealed. The table is encrypted as a whole, the data block by block, so that a read of 4 KiB
 * opens 4 KiB. Every block stays where it is in a chunk with room for seals ({@linkcode dataOffset}).
 *
 * ```
 *    0  the header, in the clear
 *  128  seal, see `format/seal.ts`
 *  176  encrypted with count 0: the frames, the sums of the blocks, and per block a tag of 16 bytes
 *    …  per block: u32, the sum of its bytes as they lie there
 *    …  zeroes
 * data  the blocks; the nth is encrypted with count nth + 1
 * ```
 *
 * The sums of what lies there tell damage from forgery, and whoever has no key can look for damage.
 *
 * @module
 */

import {
  checkChunkTable,
  CHUNK_HEADER_BYTES,
  type ChunkTable,
  decodeChunkTable,
  tableEnd,
} from "../format/chunk.ts";
import { Fields, isSealedRecord, notOpened, sealRecord } from "../format/record.ts";
import { SEAL_BYTES } from "../format/seal.ts";
import { sumOf } from "../format/sum.ts";
import { assert } from "../../uapi/error.ts";
import { seal, TAG_BYTES, unseal } from "./gcm.ts";
import { beginSeal, openBody, sealBody, unmark } from "./records.ts";
import type { VolumeKey } from "./volume_key.ts";

const CLEAR = CHUNK_HEADER_BYTES;
const SUM_BYTES = 4;

/** What opens the blocks of a chunk. */
export interface BlockSeals {
  /** The chunk's key. */
  readonly key: Uint8Array<ArrayBuffer>;
  /** The tags of the blocks. */
  readonly tags: Uint8Array<ArrayBuffer>;
}

/** A sealed chunk's table, opened. */
export interface SealedTable {
  /** The table as it was before it was sealed, to where the data begins. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The sums of the blocks as they lie there. */
  readonly sums: Uint32Array<ArrayBuffer>;
  /** The sums of the blocks when they are opened. */
  readonly innerSums: Uint32Array<ArrayBuffer>;
  /** What opens the blocks. */
  readonly seals: BlockSeals;
}

/** Numbers of a chunk's header. */
function shapeOf(bytes: Uint8Array<ArrayBuffer>) {
  const fields = new Fields(bytes);
  return {
    number: fields.u64(32),
    blockSize: fields.u32(64),
    frames: fields.u32(68),
    blocks: fields.u32(72),
    dataAt: fields.u32(76),
  };
}

/** Seals a chunk that has room for that. */
export function sealedChunk(
  key: VolumeKey,
  chunk: Uint8Array<ArrayBuffer>,
  number: number,
): Uint8Array<ArrayBuffer> {
  const { blockSize, frames, blocks, dataAt, ...header } = shapeOf(chunk);
  assert(header.number === number, "a chunk has the number of its name");
  const end = tableEnd(frames, blocks);
  const bodyBytes = end - CLEAR + blocks * TAG_BYTES;
  const sums = CLEAR + SEAL_BYTES + bodyBytes;
  assert(sums + blocks * SUM_BYTES <= dataAt, "the chunk has room for seals");
  const sealed = new Uint8Array(chunk.length);
  sealed.set(chunk.subarray(0, CLEAR));
  const own = beginSeal(key, sealed, CLEAR, number);
  const fields = new Fields(sealed.subarray(0, dataAt));
  const body = new Uint8Array(bodyBytes);
  body.set(chunk.subarray(CLEAR, end));
  for (let nth = 0, at = dataAt; nth < blocks; nth++, at += blockSize) {
    const block = sealed.subarray(at, at + blockSize);
    const tagAt = end - CLEAR + nth * TAG_BYTES;
    const tag = body.subarray(tagAt, tagAt + TAG_BYTES);
    seal(own, nth + 1, undefined, chunk.subarray(at, at + blockSize), block, tag);
    fields.setU32(sums + nth * SUM_BYTES, sumOf(block));
  }
  sealBody(own, sealed, CLEAR, body);
  sealRecord(fields);
  return sealed;
}

/** Opens a sealed chunk's table, whose sum is right; undefined if it is not authentic. */
export function openTable(
  key: VolumeKey,
  sealed: Uint8Array<ArrayBuffer>,
  number: number,
): SealedTable | undefined {
  const { frames, blocks, dataAt } = shapeOf(sealed);
  const end = tableEnd(frames, blocks);
  const bodyBytes = end - CLEAR + blocks * TAG_BYTES;
  const opened = openBody(key, sealed, CLEAR, number, bodyBytes);
  if (opened === undefined) return undefined;
  const bytes = new Uint8Array(dataAt);
  bytes.set(sealed.subarray(0, CLEAR));
  bytes.set(opened.body.subarray(0, end - CLEAR), CLEAR);
  unmark(bytes, sealed, CLEAR);
  const sums = sumsAt(sealed, CLEAR + SEAL_BYTES + bodyBytes, blocks);
  const innerSums = sumsAt(bytes, end - blocks * SUM_BYTES, blocks);
  const seals = { key: opened.key, tags: opened.body.subarray(end - CLEAR) };
  return { bytes, sums, innerSums, seals };
}

function sumsAt(
  bytes: Uint8Array<ArrayBuffer>,
  at: number,
  count: number,
): Uint32Array<ArrayBuffer> {
  const fields = new Fields(bytes);
  return Uint32Array.from({ length: count }, (_, nth) => fields.u32(at + nth * SUM_BYTES));
}

/** Decrypts whole blocks, from the nth on, in place. @returns Whether all are authentic. */
export function openBlocks(
  { key, tags }: BlockSeals,
  data: Uint8Array<ArrayBuffer>,
  start: number,
  end: number,
  blockSize: number,
  nth: number,
): boolean {
  let areRight = true;
  for (let at = start; at < end; at += blockSize, nth++) {
    const block = data.subarray(at, at + blockSize);
    const tag = tags.subarray(nth * TAG_BYTES, (nth + 1) * TAG_BYTES);
    areRight = unseal(key, nth + 1, undefined, block, block, tag) && areRight;
  }
  return areRight;
}

/**
 * Seals a block's data as it lay in a chunk, for whoever mends that.
 *
 * @returns Undefined if the chunk had other data: nothing of what was sealed gets out, so no count seals
 *   two things.
 */
export function blockAsItLay(
  { key, tags }: BlockSeals,
  nth: number,
  data: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> | undefined {
  const block = new Uint8Array(data.length);
  const tag = new Uint8Array(TAG_BYTES);
  seal(key, nth + 1, undefined, data, block, tag);
  const isSame = tag.every((byte, at) => byte === tags[nth * TAG_BYTES + at]);
  return isSame ? block : undefined;
}

/** A chunk's table, and what opens its blocks if they are sealed. */
export interface OpenedTable extends ChunkTable {
  /** Undefined for a volume that is not encrypted. */
  readonly seals: BlockSeals | undefined;
}

/**
 * Reads what stands before a chunk's data, sealed or not, as the volume is.
 *
 * @returns The sums are those of the blocks as they lie there.
 * @throws {FormatError}
 */
export function decodeAnyTable(
  bytes: Uint8Array<ArrayBuffer>,
  volume: string,
  number: number,
  key: VolumeKey | undefined,
): OpenedTable {
  if (key === undefined) return { ...decodeChunkTable(bytes, volume, number), seals: undefined };
  // Damage is told before it is called a forgery.
  checkChunkTable(bytes, volume);
  const table = isSealedRecord(bytes) ? openTable(key, bytes, number) : undefined;
  if (table === undefined) throw notOpened("a chunk");
  const { sums, seals } = table;
  return { ...decodeChunkTable(table.bytes, volume, number), sums, seals };
}
