/**
 * Reads a journal after its writer has ended, however it ended. Batches count in their order up to
 * the first that is not whole; nothing behind that counts, in later segments neither.
 *
 * Batches behind the first bad one are no surprise after a power cut, since what was not synced may
 * survive in any order. But a batch names the last one that was durable when it was written. If a
 * later batch says so of one that is not there any more, flushed data is lost: the disk has lied or
 * decayed, and that is said instead of opening the volume without it.
 *
 * @module
 */

import type { File } from "../../files/port.ts";
import { ReadAhead } from "../../files/read_ahead.ts";
import { readUpTo } from "../../files/whole.ts";
import { UblkError } from "../../uapi/error.ts";
import {
  BATCH_MAGIC,
  batchBytes,
  type BatchHeader,
  decodeSegmentHeader,
  isSound,
  peekBatch,
  type SegmentHeader,
} from "../format/journal.ts";
import { BATCH_HEADER_BYTES, SEGMENT_HEADER_BYTES } from "../format/journal_layout.ts";
import { FormatError, hasRightSum, NewerFormatError } from "../format/record.ts";
import { isNextBatch, isNextSegment, type JournalEnd, type ScannedEnd } from "./end.ts";
import { segmentName } from "./files.ts";
import { NEWER_HINT } from "./identity.ts";

/** A sound batch of a journal. */
export interface ScannedBatch {
  /** Its header. */
  readonly header: BatchHeader;
  /** All of it. Valid until the next batch is read. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The position of its first byte. */
  readonly position: number;
}

/** The journal to read. */
export interface ScanParts {
  /** Its files. */
  readonly files: readonly File[];
  /** The volume's UUID. */
  readonly volume: string;
  /** The journal's UUID. */
  readonly journal: string;
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Bytes of a segment. */
  readonly size: number;
  /** After which batch to begin. */
  readonly from: JournalEnd;
  /** The journal in words, for errors. */
  readonly words: string;
}

/**
 * The beginning of a file of a journal: the header of its segment, or nothing yet, or no header; or what
 * looks as if it were of a newer format.
 */
type Beginning = SegmentHeader | "blank" | "damaged" | NewerFormatError;

/**
 * Reads the beginning of the nth file.
 *
 * @throws {UblkError} `VOLUME_DAMAGED` if the segment is of a newer format: it once passed for damaged,
 *   and the volume opened without what was flushed to it.
 */
function readHeader(
  { files, volume, words }: ScanParts,
  nth: number,
  buffer: Uint8Array<ArrayBuffer>,
): Beginning {
  const bytes = buffer.subarray(0, SEGMENT_HEADER_BYTES);
  if (readUpTo(files[nth], bytes, 0) < bytes.length) return "blank";
  try {
    return decodeSegmentHeader(bytes, volume);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    if (error instanceof NewerFormatError) {
      // A newer format may have its sum elsewhere, but a flipped bit has no right one.
      if (hasRightSum(bytes)) throw newer(words, nth, error);
      return error;
    }
    return bytes.every((byte) => byte === 0) ? "blank" : "damaged";
  }
}

function newer(words: string, nth: number, { message }: NewerFormatError): UblkError {
  return new UblkError("VOLUME_DAMAGED", {
    operation: words,
    reason: `byte 0 of ${segmentName(nth)}: ${message}`,
    hint: NEWER_HINT,
  });
}

/**
 * Reads the batches after the given one. Whoever does not read to the end disposes of the generator.
 *
 * @returns Where the journal ends, as the value that the generator returns.
 * @throws {UblkError} `VOLUME_DAMAGED` if batches are gone that had been durable, or if segments are of
 *   a newer format.
 */
export function* scanJournal(parts: ScanParts): Generator<ScannedBatch, ScannedEnd> {
  const { files, blockSize, size, from } = parts;
  using reader = new ReadAhead({ files, bytes: size });
  const beginnings = files.map((_, nth) => readHeader(parts, nth, reader.bytes));
  const ours = oursOf(parts, beginnings);
  let { position, sequence, chain, written } = from;
  let next = Math.ceil(position / size) * size;
  let end = position;
  let epoch = 0;
  for (;;) {
    const segment = Math.floor(position / size);
    const header = ours[segment % files.length];
    // A position at the very start of a segment is before its header.
    const begins = position % size === 0;
    if (header?.segment === segment && (!begins || isNextSegment(header, sequence, chain))) {
      // Batches that an earlier attachment has left in the file continue nothing.
      epoch = Math.max(epoch, header.epoch);
      if (begins) position += SEGMENT_HEADER_BYTES;
      next = (segment + 1) * size;
      reader.begin(files[segment % files.length]);
      const start = segment * size;
      for (;;) {
        const batch = batchAt(reader, position - start, blockSize);
        if (batch === undefined) break;
        if (!isNextBatch(batch, sequence, chain, epoch)) break;
        end = position + batchBytes(batch);
        yield {
          header: batch,
          bytes: reader.bytes.subarray(position - start, end - start),
          position,
        };
        ({ sequence, epoch, written } = batch);
        chain = batch.sum;
        position = end;
      }
    }
    // The writer goes on in the next segment when a batch does not fit, and after a crash perhaps in
    // the one after that.
    const following = ours.filter((header) =>
      header !== undefined && header.segment > segment && isNextSegment(header, sequence, chain)
    ).map((header) => header!.segment);
    if (following.length === 0) break;
    position = Math.min(...following) * size;
  }
  // Earlier segments hold earlier batches only. A segment whose header is damaged may hold any: that
  // such files were left out made a volume open without all that one flipped bit had hidden.
  const last = Math.floor(end / size);
  checkNothingIsNewer(parts, beginnings, last);
  const suspects = [...files.keys()].filter((nth) =>
    beginnings[nth] === "damaged" || beginnings[nth] instanceof NewerFormatError ||
    (ours[nth]?.segment ?? -1) >= last
  );
  // What was read last is there already, as long as nothing else is read.
  const isThere = (nth: number) => files[nth] === reader.file ? 0 : 1;
  suspects.sort((one, other) => isThere(one) - isThere(other));
  checkNothingIsMissing(parts, reader, suspects, ours, sequence, end);
  return { position: end, sequence, chain, written, next };
}

/**
 * Checks that nobody with a newer format has gone on where the journal ends: in that segment, in the next
 * one, or in the one after that. Elsewhere a version is a flipped bit, of a segment that is not needed.
 */
function checkNothingIsNewer(
  { files, words }: ScanParts,
  beginnings: readonly Beginning[],
  last: number,
): void {
  for (let segment = last; segment <= last + 2; segment++) {
    const nth = segment % files.length;
    const beginning = beginnings[nth];
    if (beginning instanceof NewerFormatError) throw newer(words, nth, beginning);
  }
}

/** The headers of the journal's own segments, by their files. */
function oursOf(
  { files, journal, size, blockSize }: ScanParts,
  beginnings: readonly Beginning[],
): (SegmentHeader | undefined)[] {
  return beginnings.map((header, nth) => {
    if (typeof header === "string" || header instanceof NewerFormatError) return undefined;
    const isOurs = header.journal === journal && header.size === size &&
      header.blockSize === blockSize &&
      header.segment % files.length === nth;
    return isOurs ? header : undefined;
  });
}

/**
 * The number of the last segment that has begun; -1 if none has. It tells whoever reads a journal
 * beside its writer which files have been used again.
 */
export function newestSegment(parts: ScanParts): number {
  const buffer = new Uint8Array(SEGMENT_HEADER_BYTES);
  const headers = oursOf(parts, parts.files.map((_, nth) => readHeader(parts, nth, buffer)));
  return Math.max(-1, ...headers.map((header) => header?.segment ?? -1));
}

/** The header of a sound batch that begins at a byte of the segment that is being read. */
function batchAt(reader: ReadAhead, at: number, blockSize: number): BatchHeader | undefined {
  const rest = reader.bytes.subarray(at);
  reader.upTo(at + BATCH_HEADER_BYTES);
  const header = peekBatch(rest, blockSize);
  if (header === undefined) return undefined;
  reader.upTo(at + batchBytes(header));
  return isSound(rest, header, blockSize) ? header : undefined;
}

/** Looks for batches after the last one that say that a lost one had been durable. */
function checkNothingIsMissing(
  { files, blockSize, words, size }: ScanParts,
  reader: ReadAhead,
  suspects: readonly number[],
  headers: readonly (SegmentHeader | undefined)[],
  last: number,
  end: number,
): void {
  const place = `byte ${end % size} of ${segmentName(Math.floor(end / size) % files.length)}`;
  const { bytes } = reader;
  const words32 = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  for (const nth of suspects) {
    const epoch = headers[nth]?.epoch ?? 0;
    if (reader.file !== files[nth]) reader.begin(files[nth]);
    for (let at = SEGMENT_HEADER_BYTES; at < size; at += SEGMENT_HEADER_BYTES) {
      reader.upTo(at + SEGMENT_HEADER_BYTES);
      if (words32[at / 4] !== BATCH_MAGIC) continue;
      const batch = batchAt(reader, at, blockSize);
      if (batch === undefined || batch.synced <= last || batch.sequence <= last) continue;
      if (batch.epoch < epoch) continue;
      throw new UblkError("VOLUME_DAMAGED", {
        operation: words,
        reason: `batch ${last + 1}, after ${place}, is damaged or gone, and was durable when ` +
          `batch ${batch.sequence} was written`,
        hint: "the disk of the journal has lost flushed data; " +
          "attach without the journal to go on with what the store has",
      });
    }
  }
}
