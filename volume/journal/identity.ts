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
 * ```
 *
 * @module
 */

import type { Files } from "../../files/port.ts";
import { readWhole, writeWhole } from "../../files/whole.ts";
import { UblkError } from "../../uapi/error.ts";
import {
  beginRecord,
  FormatError,
  openRecord,
  type RecordKind,
  sealRecord,
} from "../format/record.ts";

const KIND: RecordKind = { magic: "UBLKJRID", version: 1, words: "a journal's identity" };
const BYTES = 64;
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
}

/** Reads the identity of the journal in a folder; undefined if there is none. */
export function readIdentity(files: Files, folder: string): JournalIdentity | undefined {
  const path = `${folder}/${NAME}`;
  if (files.status(path) === undefined) return undefined;
  using file = files.open(path);
  const bytes = new Uint8Array(BYTES);
  try {
    if (file.size() !== BYTES) throw new FormatError("its length is wrong");
    readWhole(file, bytes, 0);
    const fields = openRecord(bytes, KIND);
    return {
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
      hint: "attach without the journal to go on with what the store has",
    });
  }
}

/** Makes a folder hold no journal. Its files may be removed after that. */
export function forgetIdentity(files: Files, folder: string): void {
  files.remove(`${folder}/${NAME}`);
  files.syncFolder(folder);
}

/** Makes a folder hold a journal. It does so, whole, or as before, whatever happens meanwhile. */
export function writeIdentity(files: Files, folder: string, identity: JournalIdentity): void {
  const fields = beginRecord(new Uint8Array(BYTES), KIND, identity.volume);
  fields.setUuid(32, identity.journal);
  fields.setU64(48, identity.size);
  fields.setU32(56, identity.files);
  fields.setU32(60, identity.blockSize);
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
