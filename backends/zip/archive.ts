/**
 * A zip archive: what is in it and where, by its central directory. The format itself, with zip64,
 * names in several encodings and all that archives in the wild get wrong, is read by a library,
 * which is loaded when the first archive is opened.
 *
 * @module
 */

import type { Entry, Reader } from "@zip.js/zip.js/lib/zip-core-reader.js";
import { EIO } from "../../uapi/errno.ts";
import { UblkError } from "../../uapi/error.ts";
import { fileStatus, readAt } from "../../uring/file.ts";
import { closeFd } from "../../uring/libc.ts";
import { openBackingFile, refusal } from "../backing_file.ts";

/** The contents are there as they are. */
export const STORED = 0;
/** The contents are compressed by deflate, as nearly all are. */
export const DEFLATED = 8;

/** What other methods are called (APPNOTE 4.4.5). */
const METHOD_NAMES: ReadonlyMap<number, string> = new Map([
  [1, "shrink"],
  [6, "implode"],
  [9, "deflate64"],
  [12, "bzip2"],
  [14, "LZMA"],
  [93, "zstd"],
  [95, "xz"],
  [98, "PPMd"],
]);

/** Something in an archive. */
export interface Member {
  /** Its path, as the archive has it. */
  readonly name: string;
  /** It is a folder. */
  readonly isFolder: boolean;
  /** Bytes of its contents. */
  readonly bytes: number;
  /** Bytes that they take in the archive. */
  readonly storedBytes: number;
  /** {@linkcode STORED}, {@linkcode DEFLATED}, or something that is refused. */
  readonly method: number;
  /** It cannot be read without a password. */
  readonly encrypted: boolean;
  /** The checksum of its contents. */
  readonly crc32: number;
  /** When it was changed, as FAT has it: the date in the upper 16 bits, the time in the lower. */
  readonly dosTime: number;
}

/** An open archive. */
export class Archive {
  /** As it was given. */
  readonly path: string;
  /** Its descriptor, which is good in every thread. */
  readonly fd: number;
  /** What is in it, in its own order. */
  readonly members: readonly Member[];
  readonly #entries: ReadonlyMap<Member, Entry>;

  private constructor(path: string, fd: number, entries: ReadonlyMap<Member, Entry>) {
    this.path = path;
    this.fd = fd;
    this.#entries = entries;
    this.members = [...entries.keys()];
  }

  /**
   * Opens an archive, which others may read too, and reads its directory.
   *
   * @throws {UblkError} `INVALID_ARGUMENT`, in one line: there is no such file, it is no archive, …
   */
  static async open(path: string): Promise<Archive> {
    // An empty file would be found to be too short for a disk.
    if (fileStatus(path)?.kind === "file" && fileStatus(path)?.bytes === 0) {
      throw refusal(path, "it is empty, and no zip archive", "give a zip archive");
    }
    const { fd, bytes } = await openBackingFile(path, {
      readOnly: true,
      direct: false,
      blockSize: 1,
    });
    try {
      return new Archive(path, fd, await readDirectory(path, fd, bytes));
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  }

  /**
   * Where the contents of a member begin, in bytes. What the archive says of it beside them is
   * compared with its directory.
   *
   * @throws {UblkError} `INVALID_ARGUMENT` where the two disagree, or it ends beyond the archive.
   */
  async locate(member: Member): Promise<number> {
    const entry = this.#entries.get(member)!;
    if (entry.directory) throw new Error("assertion failed: a folder has no contents");
    try {
      await entry.getData(new WritableStream(), { checkOverlappingEntryOnly: true });
      return entry.localDirectory!.dataOffset;
    } catch (error) {
      throw damaged(this.path, member.name, wordsOf(error));
    }
  }

  /** Fills the buffer from a byte of the archive on. */
  read(buffer: Uint8Array<ArrayBuffer>, offset: number): void {
    const count = readFully(this.fd, buffer, offset);
    if (count === buffer.length) return;
    throw damaged(this.path, undefined, "it has become shorter");
  }

  /** Lets go of the file. */
  close(): void {
    closeFd(this.fd);
  }
}

/**
 * Why a member cannot be read, as far as the directory tells, and what to do about it; undefined
 * where it can.
 */
export function obstacle(
  { encrypted, method }: Member,
): { reason: string; hint: string } | undefined {
  if (encrypted) {
    return {
      reason: "it is encrypted",
      hint: "unpack it with its password, and serve what it has",
    };
  }
  if (method === STORED || method === DEFLATED) return undefined;
  const name = METHOD_NAMES.get(method) ?? "something unknown";
  return {
    reason: `it is compressed by ${name} (method ${method})`,
    hint: "only stored and deflated members can be served: pack it anew (zip, zip -0)",
  };
}

/** The error of an archive, or a member of it, that is not as it was made. */
export function damaged(path: string, name: string | undefined, reason: string): UblkError {
  const operation = name === undefined ? path : `${name} in ${path}`;
  const hint = "get the archive again";
  return refusal(operation, `it is damaged: ${reason}`, hint, EIO);
}

async function readDirectory(
  path: string,
  fd: number,
  bytes: number,
): Promise<ReadonlyMap<Member, Entry>> {
  const zip = await import("@zip.js/zip.js/lib/zip-core-reader.js");
  const file = {
    size: bytes,
    readUint8Array(offset: number, length: number): Promise<Uint8Array> {
      const buffer = new Uint8Array(Math.max(0, Math.min(length, bytes - offset)));
      return Promise.resolve(buffer.subarray(0, readFully(fd, buffer, offset)));
    },
  };
  // Its own class of readers is in another of its modules, ten times as large. Names that lead out
  // of the archive are no danger here: nothing is unpacked to a path.
  const reader = new zip.ZipReader(file as unknown as Reader<number>, {
    filenameValidation: "tolerant",
  });
  const entries = new Map<Member, Entry>();
  try {
    for await (const entry of reader.getEntriesGenerator()) {
      entries.set({
        name: entry.filename,
        isFolder: entry.directory,
        bytes: entry.uncompressedSize,
        storedBytes: entry.compressedSize,
        method: entry.compressionMethod,
        encrypted: entry.encrypted,
        // Without it only where AES encrypts, which is refused.
        crc32: (entry.crc32 ?? 0) >>> 0,
        dosTime: Number(entry.rawLastModDate),
      }, entry);
    }
  } catch (error) {
    throw directoryError(path, fd, error);
  }
  return entries;
}

function directoryError(path: string, fd: number, error: unknown): UblkError {
  const words = wordsOf(error);
  if (/split/i.test(words)) {
    return refusal(path, "it is a part of a split archive", "join the parts (zip -s 0 --out)");
  }
  if (/encrypted/i.test(words)) {
    const hint = "unpack it with its password, and serve what it has";
    return refusal(path, "its directory is encrypted", hint);
  }
  if (!/not found|not recognized/i.test(words)) return damaged(path, undefined, words);
  const start = new Uint8Array(4);
  readFully(fd, start, 0);
  // "PK\x03\x04", which every archive begins with that has something in it.
  if (new DataView(start.buffer).getUint32(0, true) === 0x04034b50) {
    return damaged(path, undefined, "it begins as a zip archive, and its end is not there");
  }
  return refusal(path, "it is no zip archive", "give a zip archive");
}

/** What the library says, as the end of a sentence. */
function wordsOf(error: unknown): string {
  const words = error instanceof Error ? error.message : String(error);
  return words.charAt(0).toLowerCase() + words.slice(1);
}

/** Bytes read, fewer only at the end of the file. */
function readFully(fd: number, buffer: Uint8Array<ArrayBuffer>, offset: number): number {
  let done = 0;
  while (done < buffer.length) {
    const rest = done === 0 ? buffer : buffer.subarray(done);
    const count = readAt(fd, rest, offset + done);
    if (count < 0) throw new UblkError("SYSCALL_FAILED", { operation: "pread", errno: -count });
    if (count === 0) break;
    done += count;
  }
  return done;
}
