/**
 * Reads an archive's directory. The library finds it, even with zip64, with bytes before and after the
 * archive, and with shifted offsets. The entries are read here, because the library's entries take
 * 8 KB each, and leave several hundred bytes each in the heap after they are released.
 *
 * @module
 */

import type { Reader } from "@zip.js/zip.js/lib/zip-core-reader.js";
import { UblkError } from "../../uapi/error.ts";
import { refusal } from "../../disk/file_checks.ts";
import { OPENING_PAUSE_EVERY_MS, Pauses } from "./pauses.ts";
import { Damage, damaged } from "./damage.ts";
import { NameDecoder } from "./encoding.ts";
import { entriesAt, type Extent, type ReadArchive } from "./entries.ts";
import { MAX_MEMBERS, Members } from "./members.ts";

/** Maximum of bytes after the archive: padding, a signature. unzip searches only 64 KiB. */
const MAX_APPENDED_BYTES = 1 << 20;
const END_BYTES = 22;
const END_SIGNATURE = 0x06054b50;
const ZIP64_END_BYTES = 56;
const ZIP64_END_SIGNATURE = 0x06064b50;
const ZIP64_LOCATOR_BYTES = 20;
const ZIP64_LOCATOR_SIGNATURE = 0x07064b50;
/** Placeholder for an unknown count: the largest that does not require zip64. */
const UNKNOWN_COUNT = 0xfffe;
const MAX_COMMENT_BYTES = 0xffff;
/**
 * Limit of a single read by the library, which would read the whole directory to examine its first
 * entry. Its search for the end record is one read that must not be cut: it starts at the end.
 */
const MAX_LIBRARY_READ_BYTES = END_BYTES + MAX_COMMENT_BYTES + MAX_APPENDED_BYTES;
/** Bytes of a directory entry without a name. */
const SMALLEST_ENTRY_BYTES = 46;

/** The location of a directory. */
interface DirectoryLocation extends Extent {
  /** The position of the first member's local header. */
  readonly firstHeaderAt: number;
}

/**
 * Reads an archive's directory.
 *
 * @param path Used in messages.
 * @param size Bytes of the file.
 * @param encoding The encoding of names that are not marked as UTF-8. Default: see `encoding.ts`.
 * @throws {UblkError} `INVALID_ARGUMENT`, in one line, if it cannot be read or has too many members.
 */
export async function readDirectory(
  path: string,
  size: number,
  read: ReadArchive,
  encoding?: string,
): Promise<Members> {
  const found = await findDirectory(path, size, read) ??
    await findDirectory(path, size, read, repairEndRecords);
  if (found === undefined) return new Members(0);
  if (found.count > MAX_MEMBERS) throw tooMany(path, found.count);
  const members = new Members(Math.min(found.count, Math.ceil(size / SMALLEST_ENTRY_BYTES)));
  const pauses = new Pauses(OPENING_PAUSE_EVERY_MS);
  let shift: number | undefined;
  try {
    for (const entry of entriesAt(read, found, new NameDecoder(encoding))) {
      if (members.count === MAX_MEMBERS) throw tooMany(path, MAX_MEMBERS + 1);
      // The distance by which the archive has moved since it was written.
      shift ??= found.firstHeaderAt - entry.headerAt;
      members.add(entry, shift);
      if (pauses.isDue()) await pauses.take();
    }
  } catch (error) {
    throw error instanceof Damage ? damaged(path, undefined, error.reason) : error;
  }
  members.trim();
  return members;
}

/**
 * Rewrites end records that the library would misread: those with a count of zero although there is a
 * directory, and those with valid 32-bit numbers beside zip64 records, because the library would then
 * use the 32-bit numbers alone.
 */
function repairEndRecords(bytes: Uint8Array<ArrayBuffer>): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + END_BYTES <= bytes.length; at++) {
    const signature = view.getUint32(at, true);
    if (signature === END_SIGNATURE) {
      const locatorAt = at - ZIP64_LOCATOR_BYTES;
      if (locatorAt >= 0 && view.getUint32(locatorAt, true) === ZIP64_LOCATOR_SIGNATURE) {
        bytes.fill(0xff, at + 8, at + 20);
      } else if (view.getUint16(at + 10, true) === 0 && view.getUint32(at + 12, true) !== 0) {
        view.setUint16(at + 10, UNKNOWN_COUNT, true);
      }
    } else if (signature === ZIP64_END_SIGNATURE && at + ZIP64_END_BYTES <= bytes.length) {
      const [count, length] = [view.getBigUint64(at + 32, true), view.getBigUint64(at + 40, true)];
      if (count === 0n && length !== 0n) view.setBigUint64(at + 32, BigInt(UNKNOWN_COUNT), true);
    }
  }
}

/**
 * Finds the directory. Undefined if it is empty.
 *
 * @param change Modifies the bytes that the library reads. Without it the result is also undefined if
 * the library looks for the directory in the wrong place.
 */
async function findDirectory(
  path: string,
  size: number,
  read: ReadArchive,
  change?: (bytes: Uint8Array<ArrayBuffer>) => void,
): Promise<DirectoryLocation | undefined> {
  const zip = await import("@zip.js/zip.js/lib/zip-core-reader.js");
  const file = {
    size,
    readUint8Array(offset: number, length: number): Promise<Uint8Array> {
      const count = Math.max(0, Math.min(length, size - offset, MAX_LIBRARY_READ_BYTES));
      const bytes = read(new Uint8Array(count), offset);
      change?.(bytes);
      return Promise.resolve(bytes);
    },
  };
  // The library's reader classes are in another module, which is ten times as large.
  const reader = new zip.ZipReader(file as unknown as Reader<number>, {
    // The directory is authoritative, as it is for unzip, 7z and bsdtar; checksums verify the rest.
    strictness: "tolerant",
    maxAppendedDataSize: MAX_APPENDED_BYTES,
  } as object);
  let count = 0;
  const onprogress = (_done: number, total: number) => void (count = total);
  const entries = reader.getEntriesGenerator({ onprogress } as object);
  try {
    const { value, done } = await entries.next();
    if (done || value === undefined || typeof value === "boolean") return undefined;
    const { directoryOffset, directoryLength } = reader as unknown as Record<string, number>;
    const end = directoryOffset + directoryLength;
    return { start: directoryOffset, end, count, firstHeaderAt: value.offset };
  } catch (error) {
    const isMisplaced = error instanceof Error &&
      error.message === zip.ERR_CENTRAL_DIRECTORY_NOT_FOUND;
    if (isMisplaced && change === undefined) return undefined;
    throw directoryError(path, read, error, zip);
  } finally {
    await entries.return(true);
  }
}

function tooMany(path: string, count: number): UblkError {
  const [has, most] = [count, MAX_MEMBERS].map((number) => number.toLocaleString("en"));
  const hint = "split it (zipsplit), or unpack it";
  return refusal(path, `it has ${has} members, more than the maximum of ${most}`, hint);
}

function directoryError(
  path: string,
  read: ReadArchive,
  error: unknown,
  { ERR_EOCDR_NOT_FOUND, ERR_BAD_FORMAT, ERR_SPLIT_ZIP_FILE, ERR_ENCRYPTED_CENTRAL_DIRECTORY }:
    Record<string, unknown>,
): UblkError {
  if (error instanceof UblkError) return error;
  const words = error instanceof Error ? error.message : String(error);
  switch (words) {
    case ERR_SPLIT_ZIP_FILE:
      return refusal(path, "it is a part of a split archive", "join the parts (zip -s 0 --out)");
    case ERR_ENCRYPTED_CENTRAL_DIRECTORY: {
      const hint = "unpack it with its password, and serve its contents";
      return refusal(path, "its directory is encrypted", hint);
    }
    case ERR_EOCDR_NOT_FOUND:
    case ERR_BAD_FORMAT: {
      const start = read(new Uint8Array(4), 0);
      // "PK\x03\x04", the first bytes of every archive that is not empty.
      if (start.length === 4 && new DataView(start.buffer).getUint32(0, true) === 0x04034b50) {
        return damaged(path, undefined, "it starts like a zip archive, but its end is missing");
      }
      return refusal(path, "it is not a zip archive", "give a zip archive");
    }
  }
  return damaged(path, undefined, words.charAt(0).toLowerCase() + words.slice(1));
}
