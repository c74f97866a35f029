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
 * The seal has the sum of the plain table in the clear. By that, whoever has the store could test a guess
 * of all that is in a chunk. So four unused bytes of the first frame, which are encrypted, are a _blind_:
 * random, and new in each sealing. A sum of random bytes is random. Who opens the table takes the blind
 * out again; a reader that does not know of it never looks there, and finds the sum right.
 *
 * @module
 */

import { CHUNK_HEADER_BYTES, shapeOfChunk, tableEnd } from "../format/chunk.ts";
import { BLIND_AT, SUM_BYTES } from "../format/chunk_layout.ts";
import { Fields, hasRightSum, sealRecord } from "../format/record.ts";
import { SEAL_BYTES } from "../format/seal.ts";
import { sumOf } from "../format/sum.ts";
import { assert } from "../../uapi/error.ts";
import { seal, TAG_BYTES, unseal } from "./gcm.ts";
import { beginSeal, openBody, sealBody, unmark } from "./records.ts";
import type { VolumeKey } from "./volume_key.ts";

const CLEAR = CHUNK_HEADER_BYTES;

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

/** A copy of a chunk's plain table with a blind in it, so that its sum tells nothing. */
export function blinded(
  table: Uint8Array<ArrayBuffer>,
  frames: number,
): Uint8Array<ArrayBuffer> {
  const copy = table.slice();
  // Without a frame it has nothing that is not in the clear. What is damaged stays so.
  if (frames === 0 || !hasRightSum(copy)) return copy;
  const [blind] = crypto.getRandomValues(new Uint32Array(1));
  const fields = new Fields(copy);
  fields.setU32(BLIND_AT, blind);
  sealRecord(fields);
  return copy;
}

/** Takes the blind out of a plain table. What is damaged stays as it is. */
export function unblind(table: Uint8Array<ArrayBuffer>, frames: number): void {
  const fields = new Fields(table);
  // What was sealed before there were blinds has none.
  if (frames === 0 || fields.u32(BLIND_AT) === 0 || !hasRightSum(table)) return;
  fields.setU32(BLIND_AT, 0);
  sealRecord(fields);
}

/** Seals a chunk that has room for that. */
export function sealedChunk(
  key: VolumeKey,
  chunk: Uint8Array<ArrayBuffer>,
  number: number,
): Uint8Array<ArrayBuffer> {
  const { blockSize, frames, blocks, dataAt, ...header } = shapeOfChunk(chunk);
  assert(header.number === number, "a chunk has the number of its name");
  const end = tableEnd(frames, blocks);
  const bodyBytes = end - CLEAR + blocks * TAG_BYTES;
  const sums = CLEAR + SEAL_BYTES + bodyBytes;
  assert(sums + blocks * SUM_BYTES <= dataAt, "the chunk has room for seals");
  const sealed = new Uint8Array(chunk.length);
  const table = blinded(chunk.subarray(0, dataAt), frames);
  sealed.set(table.subarray(0, CLEAR));
  const own = beginSeal(key, sealed, CLEAR, number);
  const fields = new Fields(sealed.subarray(0, dataAt));
  const body = new Uint8Array(bodyBytes);
  body.set(table.subarray(CLEAR, end));
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
  const { frames, blocks, dataAt } = shapeOfChunk(sealed);
  const end = tableEnd(frames, blocks);
  const bodyBytes = end - CLEAR + blocks * TAG_BYTES;
  const opened = openBody(key, sealed, CLEAR, number, bodyBytes);
  if (opened === undefined) return undefined;
  const bytes = new Uint8Array(dataAt);
  bytes.set(sealed.subarray(0, CLEAR));
  bytes.set(opened.body.subarray(0, end - CLEAR), CLEAR);
  unmark(bytes, sealed, CLEAR);
  unblind(bytes, frames);
  const sums = sumsAt(sealed, CLEAR + SEAL_BYTES + bodyBytes, blocks);
  const innerSums = sumsAt(bytes, end - blocks * SUM_BYTES, blocks);
  const seals = { key: opened.key, tags: opened.body.slice(end - CLEAR) };
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
