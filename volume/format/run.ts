/**
 * Runs: sorted pieces of the block map. A commit writes one with what it changed, and now and then
 * several become one. Together, later ones winning, they are the whole map.
 *
 * ```
 *  0  record   magic "UBLKMAPR"
 * 32  number   u64
 * 40  entries  u64: their number
 * 48  zeroes   16 bytes
 * 64  per entry, sorted by block, without overlaps:
 *      0 block u64 · 8 place u64, or 2^64 - 1 for a hole · 16 blocks u32 · 20 zeroes; in the first
 *      entry of an encrypted volume's run: a blind, without which the run's sum, which the manifest's
 *      tells, would tell the map to whoever guesses it
 * ```
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";
import { HOLE } from "./place.ts";
import { beginRecord, FormatError, openRecord, type RecordKind, sealRecord } from "./record.ts";

const KIND: RecordKind = { magic: "UBLKMAPR", version: 1, words: "a piece of the block map" };
const HEADER_BYTES = 64;
/** What stands in the clear in a sealed run. */
export const RUN_CLEAR_BYTES = HEADER_BYTES;
const ENTRY_BYTES = 24;
/** Where in an entry nothing else is. */
const BLIND_AT = 20;
const HOLE_WORD = 0xffff_ffff;

/** The entries of {@linkcode Extents}, as they go from thread to thread. */
export type Columns = Pick<Extents, "length" | "blocks" | "counts" | "places">;

/** Entries of the block map in the order of their blocks, without overlaps. */
export class Extents {
  /** Number of entries. */
  length = 0;
  /** The first block of each entry. */
  blocks: Float64Array<ArrayBuffer>;
  /** The number of blocks of each entry. */
  counts: Uint32Array<ArrayBuffer>;
  /** The place of each entry's first block; {@linkcode HOLE} for a hole. */
  places: Float64Array<ArrayBuffer>;

  /** @param room Room for so many entries; it grows. */
  constructor(room = 64) {
    this.blocks = new Float64Array(room);
    this.counts = new Uint32Array(room);
    this.places = new Float64Array(room);
  }

  /** Adds an entry behind all others, or to the last one, which it may continue. */
  push(block: number, count: number, place: number): void {
    assert(count > 0, "an entry has some blocks");
    const last = this.length - 1;
    if (last >= 0) {
      const end = this.blocks[last] + this.counts[last];
      assert(block >= end, "entries are sorted, and do not overlap");
      const before = this.places[last];
      const follows = before === HOLE ? place === HOLE : place === before + this.counts[last];
      if (block === end && follows && this.counts[last] + count <= 0xffff_ffff) {
        this.counts[last] += count;
        return;
      }
    }
    if (this.length === this.blocks.length) this.#grow();
    this.blocks[this.length] = block;
    this.counts[this.length] = count;
    this.places[this.length++] = place;
  }

  #grow(): void {
    const room = Math.max(64, this.length * 2);
    const [blocks, counts, places] = [this.blocks, this.counts, this.places];
    this.blocks = new Float64Array(room);
    this.counts = new Uint32Array(room);
    this.places = new Float64Array(room);
    this.blocks.set(blocks);
    this.counts.set(counts);
    this.places.set(places);
  }
}

/**
 * A run as bytes, and their sum.
 *
 * @param blindOf Gives 32 bits of which nobody else can tell the sum of the run without them. With it, the
 *   sum that is returned tells nothing of the run.
 */
export function encodeRun(
  volume: string,
  number: number,
  extents: Extents,
  blindOf?: (sum: number) => number,
): { bytes: Uint8Array<ArrayBuffer>; sum: number } {
  const bytes = new Uint8Array(HEADER_BYTES + extents.length * ENTRY_BYTES);
  const fields = beginRecord(bytes, KIND, volume);
  fields.setU64(32, number);
  fields.setU64(40, extents.length);
  for (let nth = 0, at = HEADER_BYTES; nth < extents.length; nth++, at += ENTRY_BYTES) {
    fields.setU64(at, extents.blocks[nth]);
    if (extents.places[nth] === HOLE) {
      fields.setU32(at + 8, HOLE_WORD);
      fields.setU32(at + 12, HOLE_WORD);
    } else fields.setU64(at + 8, extents.places[nth]);
    fields.setU32(at + 16, extents.counts[nth]);
  }
  const sum = sealRecord(fields);
  if (blindOf === undefined || extents.length === 0) return { bytes, sum };
  fields.setU32(HEADER_BYTES + BLIND_AT, blindOf(sum));
  return { bytes, sum: sealRecord(fields) };
}

/** Reads a run. @throws {FormatError} */
export function decodeRun(
  bytes: Uint8Array<ArrayBuffer>,
  volume: string,
  number: number,
): Extents {
  const fields = openRecord(bytes, KIND, volume);
  if (bytes.length < HEADER_BYTES) throw new FormatError("it is too short for a run");
  if (fields.u64(32) !== number) throw new FormatError(`it is run ${fields.u64(32)}`);
  const count = fields.u64(40);
  if (bytes.length !== HEADER_BYTES + count * ENTRY_BYTES) {
    throw new FormatError("its length does not fit its number of entries");
  }
  const extents = new Extents(Math.max(1, count));
  let end = 0;
  for (let at = HEADER_BYTES; at < bytes.length; at += ENTRY_BYTES) {
    const block = fields.u64(at);
    const blocks = fields.u32(at + 16);
    if (block < end || blocks === 0) throw new FormatError("its entries are not in order");
    end = block + blocks;
    const isHole = fields.u32(at + 8) === HOLE_WORD && fields.u32(at + 12) === HOLE_WORD;
    extents.push(block, blocks, isHole ? HOLE : fields.u64(at + 8));
  }
  return extents;
}
