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
 * That is version 1. A volume that is a clone, or has been one, has version 2, in which there stands
 * between the header and the runs:
 *
 * ```
 * 128  ancestors   u32: their number
 * 132  kind        u32: how its data is compressed, see below
 * 136  since       u64: the number of the first manifest with these ancestors
 * 144  per ancestor, the oldest first:
 *       0 name 128 bytes of text · 128 volume 16 bytes · 144 chunk u64 · 152 run u64
 * ```
 *
 * A volume that compresses its data has version 3, which is version 2 with a kind: 1 is zstd. It need
 * not have ancestors; `since` is then 0.
 *
 * A chunk or run is the first ancestor's whose number is greater than its own, or else the volume's.
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";
import { ZSTD } from "./compression.ts";
import {
  beginRecord,
  Fields,
  FormatError,
  isSealedRecord,
  openRecord,
  type RecordKind,
  sealRecord,
  sumOfRecord,
  versionOfRecord,
  volumeOfRecord,
} from "./record.ts";
import { UblkError } from "../../uapi/error.ts";
import { innerSumOf, SEAL_BYTES } from "./seal.ts";

/** The version of a volume that compresses. */
const COMPRESSING = 3;
/** One that has never had ancestors is of version 1, and others of version 2. */
const KIND: RecordKind = { magic: "UBLKMANI", version: COMPRESSING, words: "a manifest" };
const HEADER_BYTES = 128;
const RUN_BYTES = 32;
const ANCESTRY_BYTES = 16;
const ANCESTOR_BYTES = 160;
const NAME_BYTES = 128;

/** A run of the block map, as a manifest names it. */
export interface RunEntry {
  /** The object's number. */
  readonly number: number;
  /** The number of its entries. */
  readonly entries: number;
  /** How often the number of entries can be divided by eight. Versions of before 2026-12 merge by it. */
  readonly level: number;
  /** The object's length. */
  readonly bytes: number;
  /** The object's sum. */
  readonly sum: number;
}

/** A volume whose chunks and runs a clone shares. */
export interface Ancestor {
  /** The name under which its objects are in the store. */
  readonly name: string;
  /** Its UUID, which they have. */
  readonly volume: string;
  /** Chunks below this number are its own, or those of older ancestors. */
  readonly chunk: number;
  /** Runs below this number likewise. */
  readonly run: number;
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
  /** The volumes that this one was cloned from, the oldest first; none once it has all data itself. */
  readonly ancestors: readonly Ancestor[];
  /** The number of the first manifest with these ancestors; 0 if the volume never had any. */
  readonly since: number;
  /** How its data is compressed. @default Not at all */
  readonly compression?: "zstd";
}

/** A manifest as bytes, and their sum. */
export function encodeManifest(
  manifest: Manifest,
): { bytes: Uint8Array<ArrayBuffer>; sum: number } {
  const { runs, ancestors, since, compression } = manifest;
  const version = compression !== undefined ? COMPRESSING : since > 0 ? 2 : 1;
  assert(since > 0 || ancestors.length === 0, "ancestors are there since some manifest");
  const runsAt = HEADER_BYTES + (version === 1 ? 0 : ancestryBytes(ancestors.length));
  const bytes = new Uint8Array(runsAt + runs.length * RUN_BYTES);
  const fields = beginRecord(bytes, { ...KIND, version }, manifest.volume);
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
  if (version >= 2) {
    fields.setU32(128, ancestors.length);
    if (compression !== undefined) fields.setU32(132, ZSTD);
    fields.setU64(136, since);
  }
  ancestors.forEach((ancestor, nth) => {
    const at = HEADER_BYTES + ancestryBytes(nth);
    fields.setText(at, NAME_BYTES, ancestor.name);
    fields.setUuid(at + 128, ancestor.volume);
    fields.setU64(at + 144, ancestor.chunk);
    fields.setU64(at + 152, ancestor.run);
  });
  runs.forEach((run, nth) => {
    const at = runsAt + nth * RUN_BYTES;
    fields.setU64(at, run.number);
    fields.setU32(at + 8, run.entries);
    fields.setU32(at + 12, run.level);
    fields.setU64(at + 16, run.bytes);
    fields.setU32(at + 24, run.sum);
  });
  return { bytes, sum: sealRecord(fields) };
}

/**
 * Reads a manifest, and tells its sum. Of a sealed one, everything but the runs can be read without the
 * key: to ask for these throws then.
 *
 * @throws {FormatError}
 */
export function decodeManifest(
  bytes: Uint8Array<ArrayBuffer>,
  volume?: string,
): Manifest & { sum: number } {
  const fields = openRecord(bytes, KIND, volume, true);
  if (bytes.length < HEADER_BYTES) throw new FormatError("it is too short for a manifest");
  const ancestry = ancestryOf(fields);
  if (isSealedRecord(bytes)) return sealedManifest(fields, ancestry);
  const { runsAt, ...rest } = ancestry;
  const count = fields.u32(84);
  if (bytes.length !== runsAt + count * RUN_BYTES) {
    throw new FormatError("its length does not fit its number of runs");
  }
  const runs: RunEntry[] = [];
  for (let at = runsAt; at < bytes.length; at += RUN_BYTES) {
    runs.push({
      number: fields.u64(at),
      entries: fields.u32(at + 8),
      level: fields.u32(at + 12),
      bytes: fields.u64(at + 16),
      sum: fields.u32(at + 24),
    });
  }
  return { ...headerOf(fields), runs, ...rest, sum: sumOfRecord(fields) };
}

function headerOf(fields: Fields): Omit<Manifest, "runs" | keyof Ancestry> {
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
  };
}

function sealedManifest(
  fields: Fields,
  { runsAt, ...rest }: Ancestry,
): Manifest & { sum: number } {
  if (fields.bytes.length < runsAt + SEAL_BYTES) {
    throw new FormatError("it is too short for its seal");
  }
  return {
    ...headerOf(fields),
    ...rest,
    // Neither a copy nor a new manifest can be made of it by mistake.
    get runs(): never {
      throw new UblkError("VOLUME_KEY", {
        operation: `volume ${volumeOfRecord(fields)}`,
        reason: "it is encrypted",
        hint: "give its key: --key-file or --passphrase-file",
      });
    },
    sum: innerSumOf(fields, runsAt),
  };
}

/** What stands between a manifest's header and its runs, and where these begin. */
interface Ancestry extends Pick<Manifest, "ancestors" | "since" | "compression"> {
  readonly runsAt: number;
}

function ancestryOf(fields: Fields): Ancestry {
  const { length } = fields.bytes;
  const version = versionOfRecord(fields);
  if (version === 1) return { runsAt: HEADER_BYTES, ancestors: [], since: 0 };
  if (length < HEADER_BYTES + ANCESTRY_BYTES) {
    throw new FormatError("it is too short for a manifest");
  }
  const runsAt = HEADER_BYTES + ancestryBytes(fields.u32(128));
  if (length < runsAt) throw new FormatError("its length does not fit its number of ancestors");
  const ancestors: Ancestor[] = [];
  for (let at = HEADER_BYTES + ANCESTRY_BYTES; at < runsAt; at += ANCESTOR_BYTES) {
    ancestors.push({
      ...{ name: fields.text(at, NAME_BYTES), volume: fields.uuid(at + 128) },
      ...{ chunk: fields.u64(at + 144), run: fields.u64(at + 152) },
    });
  }
  const found = { runsAt, ancestors, since: fields.u64(136) };
  if (version < COMPRESSING) return found;
  if (fields.u32(132) !== ZSTD) {
    throw new FormatError(
      "its data is compressed in a way that this version of ublk does not know",
    );
  }
  return { ...found, compression: "zstd" };
}

/**
 * How much of a manifest stands in the clear if it is sealed: all before the runs, so that nobody needs
 * the key to see what a clone needs of its ancestors.
 *
 * @param bytes A manifest. Of what is none, the answer may be more than there is.
 */
export function clearBytesOfManifest(bytes: Uint8Array<ArrayBuffer>): number {
  if (bytes.length < HEADER_BYTES + ANCESTRY_BYTES) return HEADER_BYTES;
  const fields = new Fields(bytes);
  return versionOfRecord(fields) === 1
    ? HEADER_BYTES
    : HEADER_BYTES + ancestryBytes(fields.u32(128));
}

function ancestryBytes(ancestors: number): number {
  return ANCESTRY_BYTES + ancestors * ANCESTOR_BYTES;
}
