/**
 * Reads an archive's directory. The library finds it: with zip64, with bytes before and behind the
 * archive, with offsets that are shifted. Its entries are read here, since the library's take 8 KB
 * each while they are there, and leave a heap of several 100 bytes for each when they are gone.
 *
 * @module
 */

import type { Reader } from "@zip.js/zip.js/lib/zip-core-reader.js";
import { UblkError } from "../../uapi/error.ts";
import { refusal } from "../file_checks.ts";
import { Breaths, OPENING_BREATH_MS } from "./breaths.ts";
import { Damage, damaged } from "./damage.ts";
import { NameDecoder } from "./encoding.ts";
import { entriesAt, type Extent, type ReadArchive } from "./entries.ts";
import { MAX_MEMBERS, Members } from "./members.ts";

/** Bytes behind the archive: padding, a signature. unzip looks no farther than 64 KiB. */
const MAX_APPENDED_BYTES = 1 << 20;
const END_BYTES = 22;
const END_SIGNATURE = 0x06054b50;
const ZIP64_END_BYTES = 56;
const ZIP64_END_SIGNATURE = 0x06064b50;
const ZIP64_LOCATOR_BYTES = 20;
const ZIP64_LOCATOR_SIGNATURE = 0x07064b50;
/** Stands for a count that is not known: the most that does not ask for zip64. */
const SOME_COUNT = 0xfffe;
const MAX_COMMENT_BYTES = 0xffff;
/**
 * Reads of the library are cut to this: it wants all of a directory to look at its first entry. Its
 * search for the end record is one read, which must not be cut: it looks at the last bytes first.
 */
const LOOK_BYTES = END_BYTES + MAX_COMMENT_BYTES + MAX_APPENDED_BYTES;
/** A directory entry without a name. */
const SMALLEST_ENTRY_BYTES = 46;

/** The place of a directory. */
interface Found extends Extent {
  /** The place of the first member's local header. */
  readonly firstHeaderAt: number;
}

/**
 * Reads it.
 *
 * @param path For messages.
 * @param size Bytes of the file.
 * @param encoding That of names that are not marked as UTF-8; without it, see `encoding.ts`.
 * @throws {UblkError} `INVALID_ARGUMENT`, in one line, where it cannot be read or has too many members.
 */
export async function readDirectory(
  path: string,
  size: number,
  read: ReadArchive,
  encoding?: string,
): Promise<Members> {
  const found = await find(path, size, read) ?? await find(path, size, read, amend);
  if (found === undefined) return new Members(0);
  if (found.count > MAX_MEMBERS) throw tooMany(path, found.count);
  const members = new Members(Math.min(found.count, Math.ceil(size / SMALLEST_ENTRY_BYTES)));
  const breaths = new Breaths(OPENING_BREATH_MS);
  let shift: number | undefined;
  try {
    for (const entry of entriesAt(read, found, new NameDecoder(encoding))) {
      if (members.count === MAX_MEMBERS) throw tooMany(path, MAX_MEMBERS + 1);
      // By as much as the archive has moved since it was made.
      shift ??= found.firstHeaderAt - entry.headerAt;
      members.add(entry, shift);
      if (breaths.isDue()) await breaths.take();
    }
  } catch (error) {
    throw error instanceof Damage ? damaged(path, undefined, error.reason) : error;
  }
  members.trim();
  return members;
}

/**
 * Changes end records as the library has to see them: where their count of members is zero and there is
 * a directory, or where the numbers of zip64 stand beside true ones, which it then takes alone.
 */
function amend(bytes: Uint8Array<ArrayBuffer>): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + END_BYTES <= bytes.length; at++) {
    const signature = view.getUint32(at, true);
    if (signature === END_SIGNATURE) {
      const locatorAt = at - ZIP64_LOCATOR_BYTES;
      if (locatorAt >= 0 && view.getUint32(locatorAt, true) === ZIP64_LOCATOR_SIGNATURE) {
        bytes.fill(0xff, at + 8, at + 20);
      } else if (view.getUint16(at + 10, true) === 0 && view.getUint32(at + 12, true) !== 0) {
        view.setUint16(at + 10, SOME_COUNT, true);
      }
    } else if (signature === ZIP64_END_SIGNATURE && at + ZIP64_END_BYTES <= bytes.length) {
      const [count, length] = [view.getBigUint64(at + 32, true), view.getBigUint64(at + 40, true)];
      if (count === 0n && length !== 0n) view.setBigUint64(at + 32, BigInt(SOME_COUNT), true);
    }
  }
}

/**
 * Finds it; undefined where it is empty.
 *
 * @param change Changes what the library reads. Without it, undefined also where the library looks for
 * the directory in the wrong place.
 */
async function find(
  path: string,
  size: number,
  read: ReadArchive,
  change?: (bytes: Uint8Array<ArrayBuffer>) => void,
): Promise<Found | undefined> {
  const zip = await import("@zip.js/zip.js/lib/zip-core-reader.js");
  const file = {
    size,
    readUint8Array(offset: number, length: number): Promise<Uint8Array> {
      const count = Math.max(0, Math.min(length, size - offset, LOOK_BYTES));
      const bytes = read(new Uint8Array(count), offset);
      change?.(bytes);
      return Promise.resolve(bytes);
    },
  };
  // Its own class of readers is in another of its modules, ten times as large.
  const reader = new zip.ZipReader(file as unknown as Reader<number>, {
    // The directory is the authority, as it is for unzip, 7z and bsdtar; checksums prove the rest.
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
    const isElsewhere = error instanceof Error &&
      error.message === zip.ERR_CENTRAL_DIRECTORY_NOT_FOUND;
    if (isElsewhere && change === undefined) return undefined;
    throw directoryError(path, read, error, zip);
  } finally {
    await entries.return(true);
  }
}

function tooMany(path: string, count: number): UblkError {
  const [has, most] = [count, MAX_MEMBERS].map((number) => number.toLocaleString("en"));
  const hint = "split it (zipsplit), or unpack it";
  return refusal(path, `it has ${has} members; ${most} are the most that can be served`, hint);
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
      const hint = "unpack it with its password, and serve what it has";
      return refusal(path, "its directory is encrypted", hint);
    }
    case ERR_EOCDR_NOT_FOUND:
    case ERR_BAD_FORMAT: {
      const start = read(new Uint8Array(4), 0);
      // "PK\x03\x04", which every archive begins with that has something in it.
      if (start.length === 4 && new DataView(start.buffer).getUint32(0, true) === 0x04034b50) {
        return damaged(path, undefined, "it begins as a zip archive, and its end is not there");
      }
      return refusal(path, "it is no zip archive", "give a zip archive");
    }
  }
  return damaged(path, undefined, words.charAt(0).toLowerCase() + words.slice(1));
}
