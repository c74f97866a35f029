/**
 * Manifests: immutable and numbered, each a whole description of the volume at one point between
 * two writes. The runs together are the block map: later ones win.
 *
 * ```
 *   0  record      magic "UBLKMANI"
 *  32  number      u64
 *  40  epoch       u64: of the attachment that wrote it
 *  48  size        u64: of the disk in bytes
 *  56  block       u32: bytes of a block
 *  60  chunk       u32: most bytes of a chunk
 *  64  sequence    u64: of the last batch that is in chunks
 *  72  position    u64: where the journal continues
 *  80  chain       u32: the sum of that last batch's header
 *  84  runs        u32: their number
 *  88  next chunk  u64: chunks from this number on are not part of the volume
 *  96  next run    u64: likewise
 * 104  written     u64: bytes of data in all batches up to `sequence`
 * 112  time        u64: what was acknowledged before this moment, in milliseconds since 1970, is in it
 * 120  created     u64: when the volume was, in milliseconds since 1970
 * 128  per run, the oldest first:
 *       0 number u64 · 8 entries u32 · 12 level u32 · 16 bytes u64 · 24 sum u32 · 28 zeroes
 * ```
 *
 * @module
 */

import {
  beginRecord,
  FormatError,
  openRecord,
  type RecordKind,
  sealRecord,
  sumOfRecord,
  volumeOfRecord,
} from "./record.ts";

const KIND: RecordKind = { magic: "UBLKMANI", version: 1, words: "a manifest" };
const HEADER_BYTES = 128;
const RUN_BYTES = 32;

/** A run of the block map, as a manifest names it. */
export interface RunEntry {
  /** The object's number. */
  readonly number: number;
  /** The number of its entries. */
  readonly entries: number;
  /** 0 for what one commit changed; a merge of runs is one level above them. */
  readonly level: number;
  /** The object's length. */
  readonly bytes: number;
  /** The object's sum. */
  readonly sum: number;
}

/** The contents of a manifest. */
export interface Manifest {
  /** The volume's UUID. */
  readonly volume: string;
  /** The manifest's number. */
  readonly number: number;
  /** The epoch of the attachment that wrote it. */
  readonly epoch: number;
  /** Of the disk, in bytes. */
  readonly size: number;
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Most bytes of a chunk object. */
  readonly chunkSize: number;
  /** The sequence of the last batch whose data is in chunks. */
  readonly sequence: number;
  /** The position in the journal after that batch. */
  readonly position: number;
  /** The sum of that batch's header; the next batch must name it. */
  readonly chain: number;
  /** The number that the next chunk is to have. */
  readonly nextChunk: number;
  /** The number that the next run is to have. */
  readonly nextRun: number;
  /** Bytes of data in all batches up to `sequence`. */
  readonly written: number;
  /** What was acknowledged before this moment, in milliseconds since 1970, is in it. */
  readonly time: number;
  /** When the volume was created, in milliseconds since 1970. */
  readonly created: number;
  /** The block map: later runs win. */
  readonly runs: readonly RunEntry[];
}

/** A manifest as bytes, and their sum. */
export function encodeManifest(
  manifest: Manifest,
): { bytes: Uint8Array<ArrayBuffer>; sum: number } {
  const { runs } = manifest;
  const bytes = new Uint8Array(HEADER_BYTES + runs.length * RUN_BYTES);
  const fields = beginRecord(bytes, KIND, manifest.volume);
  fields.setU64(32, manifest.number);
  fields.setU64(40, manifest.epoch);
  fields.setU64(48, manifest.size);
  fields.setU32(56, manifest.blockSize);
  fields.setU32(60, manifest.chunkSize);
  fields.setU64(64, manifest.sequence);
  fields.setU64(72, manifest.position);
  fields.setU32(80, manifest.chain);
  fields.setU32(84, runs.length);
  fields.setU64(88, manifest.nextChunk);
  fields.setU64(96, manifest.nextRun);
  fields.setU64(104, manifest.written);
  fields.setU64(112, manifest.time);
  fields.setU64(120, manifest.created);
  runs.forEach((run, nth) => {
    const at = HEADER_BYTES + nth * RUN_BYTES;
    fields.setU64(at, run.number);
    fields.setU32(at + 8, run.entries);
    fields.setU32(at + 12, run.level);
    fields.setU64(at + 16, run.bytes);
    fields.setU32(at + 24, run.sum);
  });
  return { bytes, sum: sealRecord(fields) };
}

/** Reads a manifest, and tells its sum. @throws {FormatError} */
export function decodeManifest(
  bytes: Uint8Array<ArrayBuffer>,
  volume?: string,
): Manifest & { sum: number } {
  const fields = openRecord(bytes, KIND, volume);
  if (bytes.length < HEADER_BYTES) throw new FormatError("it is too short for a manifest");
  const count = fields.u32(84);
  if (bytes.length !== HEADER_BYTES + count * RUN_BYTES) {
    throw new FormatError("its length does not fit its number of runs");
  }
  const runs: RunEntry[] = [];
  for (let at = HEADER_BYTES; at < bytes.length; at += RUN_BYTES) {
    runs.push({
      number: fields.u64(at),
      entries: fields.u32(at + 8),
      level: fields.u32(at + 12),
      bytes: fields.u64(at + 16),
      sum: fields.u32(at + 24),
    });
  }
  return {
    volume: volumeOfRecord(fields),
    number: fields.u64(32),
    epoch: fields.u64(40),
    size: fields.u64(48),
    blockSize: fields.u32(56),
    chunkSize: fields.u32(60),
    sequence: fields.u64(64),
    position: fields.u64(72),
    chain: fields.u32(80),
    nextChunk: fields.u64(88),
    nextRun: fields.u64(96),
    written: fields.u64(104),
    time: fields.u64(112),
    created: fields.u64(120),
    runs,
    sum: sumOfRecord(fields),
  };
}
