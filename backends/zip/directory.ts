/**
 * Reads an archive's directory, by the library: where it is (with zip64, bytes before and behind the
 * archive), its numbers, and its names in their encodings. Each entry goes to the table of members
 * and is forgotten.
 *
 * @module
 */

import type { Entry, Reader } from "@zip.js/zip.js/lib/zip-core-reader.js";
import { UblkError } from "../../uapi/error.ts";
import { refusal } from "../backing_file.ts";
import { formatSize } from "../size.ts";
import { Breaths, OPENING_BREATH_MS } from "./breaths.ts";
import { damaged } from "./damage.ts";
import { fatTime } from "./dos_time.ts";
import { NameDecoder } from "./encoding.ts";
import { MAX_MEMBERS, Members } from "./members.ts";

/** The library has all of the directory in memory while it reads it. */
const MAX_DIRECTORY_BYTES = 512 << 20;
/** Bytes behind the archive: padding, a signature. unzip looks no farther than 64 KiB. */
const MAX_APPENDED_BYTES = 1 << 20;
/** Systems on which a backslash is no part of a name: MS-DOS, OS/2, Windows (two numbers), VFAT. */
const BACKSLASH_SEPARATES: ReadonlySet<number> = new Set([0, 6, 10, 11, 14]);

/** Reads up to so many bytes at a place in the archive. */
export type ReadArchive = (offset: number, length: number) => Uint8Array<ArrayBuffer>;

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
  const zip = await import("@zip.js/zip.js/lib/zip-core-reader.js");
  const file = {
    size,
    readUint8Array(offset: number, length: number): Promise<Uint8Array> {
      const bytes = Math.max(0, Math.min(length, size - offset));
      if (bytes > MAX_DIRECTORY_BYTES) throw tooLarge(path, `a directory of ${formatSize(bytes)}`);
      return Promise.resolve(read(offset, bytes));
    },
  };
  let name = "";
  let total = 0;
  const decoder = new NameDecoder();
  const options = {
    // The directory is the authority, as it is for unzip, 7z and bsdtar; checksums prove the rest.
    strictness: "tolerant",
    maxAppendedDataSize: MAX_APPENDED_BYTES,
    filenameEncoding: encoding,
    decodeText: (bytes: Uint8Array<ArrayBuffer>, label: string, kind: string) =>
      kind === "comment" ? "" : decoder.decode(bytes, label),
    // Taken out of the library's hands here, since it keeps a set of all of them.
    normalizeFilename(text: string): string {
      name = text;
      return "";
    },
  };
  // Its own class of readers is in another of its modules, ten times as large.
  const reader = new zip.ZipReader(file as unknown as Reader<number>, options as object);
  const breaths = new Breaths(OPENING_BREATH_MS);
  const progress: { onprogress?: (done: number, total: number) => undefined } = {
    onprogress(_done, count) {
      total = count;
      delete progress.onprogress;
    },
  };
  let members: Members | undefined;
  try {
    for await (const entry of reader.getEntriesGenerator(progress)) {
      members ??= new Members(Math.min(total, Math.ceil(size / SMALLEST_ENTRY_BYTES)));
      if (Math.max(total, members.count + 1) > MAX_MEMBERS) {
        throw tooLarge(path, `${total.toLocaleString("en")} members`);
      }
      addEntry(members, entry, name);
      if (breaths.isDue()) await breaths.take();
    }
  } catch (error) {
    throw directoryError(path, read, error, zip);
  }
  members?.trim();
  return members ?? new Members(0);
}

/** A directory entry without a name. */
const SMALLEST_ENTRY_BYTES = 46;

function addEntry(members: Members, entry: Entry, name: string): void {
  const system = entry.versionMadeBy >> 8;
  const path = BACKSLASH_SEPARATES.has(system) && !name.includes("/")
    ? name.replaceAll("\\", "/")
    : name;
  members.add({
    name: path,
    isFolder: entry.directory || path.endsWith("/"),
    isEncrypted: entry.encrypted,
    method: entry.compressionMethod,
    bytes: entry.uncompressedSize,
    storedBytes: entry.compressedSize,
    // Without it only where AES encrypts, which is refused.
    crc32: (entry.crc32 ?? 0) >>> 0,
    headerAt: entry.offset,
    dosTime: fatTime(Number(entry.rawLastModDate), exactTime(entry)),
  });
}

function exactTime(entry: Entry): Date | undefined {
  const { extraFieldExtendedTimestamp, extraFieldUnixType1, extraFieldNTFS } = entry as unknown as {
    [field: string]: { lastModDate?: Date } | undefined;
  };
  return (extraFieldExtendedTimestamp ?? extraFieldUnixType1 ?? extraFieldNTFS)?.lastModDate;
}

function tooLarge(path: string, what: string): UblkError {
  const most = MAX_MEMBERS.toLocaleString("en");
  const hint = "split it (zipsplit), or unpack it";
  return refusal(path, `it has ${what}; ${most} members are the most that can be served`, hint);
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
      const start = read(0, 4);
      // "PK\x03\x04", which every archive begins with that has something in it.
      if (start.length === 4 && new DataView(start.buffer).getUint32(0, true) === 0x04034b50) {
        return damaged(path, undefined, "it begins as a zip archive, and its end is not there");
      }
      return refusal(path, "it is no zip archive", "give a zip archive");
    }
  }
  return damaged(path, undefined, words.charAt(0).toLowerCase() + words.slice(1));
}
