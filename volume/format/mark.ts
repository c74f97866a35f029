/**
 * A mark: a snapshot that was taken, and that the store does not have yet. It names the last batch of
 * the journal that is in the snapshot. It stands in a slot of the file `marks` beside the journal.
 *
 * ```
 *   0  record    magic "UBLKMARK", 512 bytes
 *  32  journal   16 bytes: the journal's UUID
 *  48  id        16 bytes: as the catalog's entry is to have it
 *  64  sequence  u64: of the last batch in it
 *  72  position  u64: after that batch
 *  80  time      u64: when it was taken, in milliseconds since 1970
 *  88  name      128 bytes of text
 * ```
 *
 * @module
 */

import { beginRecord, openRecord, type RecordKind, sealRecord } from "./record.ts";

const KIND: RecordKind = { magic: "UBLKMARK", version: 1, words: "a mark" };
/** Bytes of a mark: no more than the smallest sector, which is written whole or not at all. */
export const MARK_BYTES = 512;
const NAME_BYTES = 128;

/** A snapshot that was taken. */
export interface Mark {
  /** Its name. */
  readonly name: string;
  /** The id of its entry in the catalog. */
  readonly id: string;
  /** The last batch in it. */
  readonly sequence: number;
  /** The position after that batch. */
  readonly position: number;
  /** When it was taken, in milliseconds since 1970. */
  readonly time: number;
}

/** The journal that a mark belongs to. */
export interface MarkedJournal {
  /** The volume's UUID. */
  readonly volume: string;
  /** The journal's UUID. */
  readonly journal: string;
}

/** A mark as bytes. */
export function encodeMark(
  { volume, journal }: MarkedJournal,
  { name, id, sequence, position, time }: Mark,
): Uint8Array<ArrayBuffer> {
  const fields = beginRecord(new Uint8Array(MARK_BYTES), KIND, volume);
  fields.setUuid(32, journal);
  fields.setUuid(48, id);
  fields.setU64(64, sequence);
  fields.setU64(72, position);
  fields.setU64(80, time);
  fields.setText(88, NAME_BYTES, name);
  sealRecord(fields);
  return fields.bytes;
}

/** Reads a mark; undefined for one of another journal. @throws {FormatError} */
export function decodeMark(
  { volume, journal }: MarkedJournal,
  bytes: Uint8Array<ArrayBuffer>,
): Mark | undefined {
  const fields = openRecord(bytes, KIND);
  if (fields.uuid(16) !== volume || fields.uuid(32) !== journal) return undefined;
  return {
    name: fields.text(88, NAME_BYTES),
    id: fields.uuid(48),
    sequence: fields.u64(64),
    position: fields.u64(72),
    time: fields.u64(80),
  };
}
