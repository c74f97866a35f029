/**
 * Which journal a folder holds: a small file, `journal-id`, that is there before the volume's head
 * names the journal.
 *
 * ```
 *  0  record  magic "UBLKJRID"
 * 32  journal 16 bytes: the journal's UUID
 * 48  size    u64: bytes of a segment
 * 56  files   u32: their number
 * 60  block   u32: bytes of the volume's block
 * 64  copy    16 bytes: of which copy of the volume it is, as its catalog says; zeroes for none
 * 80  flags   u32: 1 the volume was left in order: its store has all of the journal
 * 84  zeroes  12 bytes
 * ```
 *
 * @module
 */

import type { Files } from "../../files/port.ts";
import { readWhole, writeWhole } from "../../files/whole.ts";
import { isUblkError, UblkError } from "../../uapi/error.ts";
import {
  beginRecord,
  FormatError,
  NewerFormatError,
  NO_UUID,
  openRecord,
  peekRecord,
  type RecordKind,
  sealRecord,
} from "../format/record.ts";

const KIND: RecordKind = { magic: "UBLKJRID", version: 1, words: "a journal's identity" };
const BYTES = 96;
/** Bytes of one of an earlier version of ublk, which knew of no copies. */
const EARLIER_BYTES = 64;
const LEFT = 1;
const NAME = "journal-id";

/** A journal's identity and shape. */
export interface JournalIdentity {
  /** The UUID of the volume that it belongs to. */
  readonly volume: string;
  /** The journal's UUID. */
  readonly journal: string;
  /** Bytes of a segment. */
  readonly size: number;
  /** The number of files. */
  readonly files: number;
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Of which copy of the volume it is; undefined for a volume that is no copy. */
  readonly copy?: string;
  /** The volume was left in order: nobody needs the journal any more. */
  readonly isLeft?: boolean;
}

/** Whether a journal may have what a volume's store lacks: that volume, and not a copy of it. */
export function mayBeOf(
  identity: Pick<JournalIdentity, "volume" | "copy" | "isLeft">,
  { volume, copy }: Pick<JournalIdentity, "volume" | "copy">,
): boolean {
  return identity.volume === volume && (identity.isLeft === true || identity.copy === copy);
}

/** The remedy for a journal of a newer format. What looks like one may have a flipped bit. */
export const NEWER_HINT = "use a newer version of ublk; if none knows it, the disk is damaged: " +
  "attach without the journal to go on with what the store has";

/** Reads the identity of the journal in a folder; undefined if there is none. */
export function readIdentity(files: Files, folder: string): JournalIdentity | undefined {
  const path = `${folder}/${NAME}`;
  if (files.status(path) === undefined) return undefined;
  using file = files.open(path);
  const length = file.size();
  try {
    const bytes = new Uint8Array(Math.min(length, BYTES));
    readWhole(file, bytes, 0);
    // A newer one may be longer.
    peekRecord(bytes, KIND);
    if (length !== BYTES && length !== EARLIER_BYTES) throw new FormatError("its length is wrong");
    const fields = openRecord(bytes, KIND);
    const isEarlier = length === EARLIER_BYTES;
    const copy = isEarlier ? NO_UUID : fields.uuid(64);
    const isLeft = !isEarlier && (fields.u32(80) & LEFT) !== 0;
    return {
      ...copy === NO_UUID ? {} : { copy },
      ...isLeft ? { isLeft } : {},
      volume: fields.uuid(16),
      journal: fields.uuid(32),
      size: fields.u64(48),
      files: fields.u32(56),
      blockSize: fields.u32(60),
    };
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new UblkError("VOLUME_DAMAGED", {
      operation: path,
      reason: error.message,
      hint: error instanceof NewerFormatError
        ? NEWER_HINT
        : "attach without the journal to go on with what the store has",
    });
  }
}

/** Makes a folder hold no journal. Its files may be removed after that. */
export function forgetIdentity(files: Files, folder: string): void {
  files.remove(`${folder}/${NAME}`);
  files.syncFolder(folder);
}

/** Notes that a volume was left in order. If that fails, the journal passes for one that is needed. */
export function leaveJournal(files: Files, folder: string, identity: JournalIdentity): void {
  try {
    writeIdentity(files, folder, { ...identity, isLeft: true });
  } catch (error) {
    if (!isUblkError(error)) throw error;
  }
}

/** Makes a folder hold a journal. It does so, whole, or as before, whatever happens meanwhile. */
export function writeIdentity(files: Files, folder: string, identity: JournalIdentity): void {
  const fields = beginRecord(new Uint8Array(BYTES), KIND, identity.volume);
  fields.setUuid(32, identity.journal);
  fields.setU64(48, identity.size);
  fields.setU32(56, identity.files);
  fields.setU32(60, identity.blockSize);
  fields.setUuid(64, identity.copy ?? NO_UUID);
  fields.setU32(80, identity.isLeft === true ? LEFT : 0);
  sealRecord(fields);
  const temporary = `${folder}/${NAME}.new`;
  {
    using file = files.open(temporary, { write: true, create: "if-missing", truncate: true });
    writeWhole(file, fields.bytes, 0);
    file.sync(false);
  }
  files.rename(temporary, `${folder}/${NAME}`);
  files.syncFolder(folder);
}
