/**
 * The entries of an archive's directory, read as a stream with one window in memory at a time.
 *
 * ```
 * bytes  4 signature  1 version  1 system  2 to extract  2 flags  2 method  4 time  4 CRC-32
 *        4 stored  4 size  2 name  2 extra  2 comment  2 disk  2 internal  4 external  4 header at
 *        name | extra fields: 2 kind, 2 bytes, data | comment
 * ```
 *
 * Source: APPNOTE 4.3.12 and 4.5, and Info-ZIP's `extrafld.txt`.
 *
 * @module
 */

import { crc32 } from "node:zlib";
import { Damage } from "./damage.ts";
import { fatTime } from "./dos_time.ts";
import type { NameDecoder } from "./encoding.ts";
import type { Member } from "./members.ts";

/** Fills a buffer with bytes of the archive from `offset` on. Returns the part that was filled. */
export type ReadArchive = (
  buffer: Uint8Array<ArrayBuffer>,
  offset: number,
) => Uint8Array<ArrayBuffer>;

const SIGNATURE = 0x02014b50;
const FIXED_BYTES = 46;
/** Name, extra fields and comment take at most 64 KiB each. */
const MAX_ENTRY_BYTES = FIXED_BYTES + 3 * 0xffff;
const WINDOW_BYTES = 1 << 20;

const FLAG_ENCRYPTED = 0x0001;
const FLAG_UTF8 = 0x0800;

const SYSTEM_DOS = 0;
/** Systems on which a backslash separates folders: MS-DOS, OS/2, Windows (two numbers), VFAT. */
const BACKSLASH_SEPARATES: ReadonlySet<number> = new Set([SYSTEM_DOS, 6, 10, 11, 14]);

const DOS_FOLDER = 0x10;
const UNIX_KIND = 0o170000;
const UNIX_FOLDER = 0o040000;

const EXTRA_ZIP64 = 0x0001;
const EXTRA_NTFS = 0x000a;
const EXTRA_TIMESTAMP = 0x5455;
const EXTRA_UNIX = 0x5855;
const EXTRA_UNICODE_PATH = 0x7075;
const ALL_ONES = 0xffff_ffff;
/** From 1601, the epoch of NTFS, to 1970. */
const NTFS_EPOCH_MS = 11_644_473_600_000;

/** The extent of a directory, as declared by the end of the archive. */
export interface Extent {
  /** The position of its first byte. */
  readonly start: number;
  /** The position after its last byte. */
  readonly end: number;
  /** The number of entries. */
  readonly count: number;
}

/**
 * Yields the members of a directory until its entries end. The declared count may be wrong. It is too
 * small in an archive of 65,536 members without zip64, which stores 16 bits of it. Fewer entries than
 * declared are valid if they end at the directory's declared end; python does the same.
 *
 * @throws {Damage} if the directory ends too early, or an entry is impossible.
 */
export function* entriesAt(
  read: ReadArchive,
  directory: Extent,
  decoder: NameDecoder,
): Generator<Member> {
  let windowAt = directory.start;
  // One buffer for all windows, because new ones would pile up until they are collected.
  const buffer = new Uint8Array(WINDOW_BYTES);
  let window = read(buffer, windowAt);
  let view = viewOf(window);
  let at = 0;
  for (let count = 0;; count++) {
    if (window.length - at < MAX_ENTRY_BYTES && window.length === WINDOW_BYTES) {
      windowAt += at;
      at = 0;
      window = read(buffer, windowAt);
      view = viewOf(window);
    }
    const isEntry = window.length - at >= FIXED_BYTES && view.getUint32(at, true) === SIGNATURE;
    const bytes = isEntry ? entryBytes(view, at) : 0;
    if (!isEntry || bytes > window.length - at) {
      if (count < directory.count && windowAt + at !== directory.end) {
        throw new Damage("its directory ends too early");
      }
      return;
    }
    yield memberOf(window.subarray(at, at + bytes), decoder);
    at += bytes;
  }
}

function viewOf(bytes: Uint8Array<ArrayBuffer>): DataView<ArrayBuffer> {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function entryBytes(view: DataView, at: number): number {
  return FIXED_BYTES + view.getUint16(at + 28, true) + view.getUint16(at + 30, true) +
    view.getUint16(at + 32, true);
}

function memberOf(entry: Uint8Array<ArrayBuffer>, decoder: NameDecoder): Member {
  const view = viewOf(entry);
  const flags = view.getUint16(8, true);
  const system = view.getUint8(5);
  const attributes = view.getUint32(38, true);
  const nameEnd = FIXED_BYTES + view.getUint16(28, true);
  const extras = new Extras(view, nameEnd, nameEnd + view.getUint16(30, true));
  const rawName = entry.subarray(FIXED_BYTES, nameEnd);
  const isUtf8 = (flags & FLAG_UTF8) !== 0;
  const name = pathOf(
    system,
    extras.unicodePath(rawName, isUtf8) ?? decoder.decode(rawName, isUtf8),
  );
  const raw = view.getUint32(12, true);
  const [bytes, storedBytes, headerAt] = extras.wide(
    [24, 20, 42].map((at) => view.getUint32(at, true)),
  );
  return {
    name,
    isFolder: name.endsWith("/") || (attributes >>> 16 & UNIX_KIND) === UNIX_FOLDER ||
      system === SYSTEM_DOS && (attributes & DOS_FOLDER) !== 0,
    isEncrypted: (flags & FLAG_ENCRYPTED) !== 0,
    method: view.getUint16(10, true),
    crc32: view.getUint32(16, true),
    dosTime: fatTime(raw, () => extras.time()),
    ...{ bytes, storedBytes, headerAt },
  };
}

/** The path with slashes. As in unzip, backslashes do not separate if the name has a slash. */
function pathOf(system: number, name: string): string {
  if (!BACKSLASH_SEPARATES.has(system) || name.includes("/")) return name;
  return name.replaceAll("\\", "/");
}

/** The extra fields of an entry. */
class Extras {
  readonly #view: DataView<ArrayBuffer>;
  readonly #start: number;
  readonly #end: number;

  constructor(view: DataView<ArrayBuffer>, start: number, end: number) {
    this.#view = view;
    this.#start = start;
    this.#end = end;
  }

  /** The data of the first field of a kind, cut at the end of the fields. */
  #find(kind: number): DataView<ArrayBuffer> | undefined {
    for (let at = this.#start; at + 4 <= this.#end;) {
      const bytes = this.#view.getUint16(at + 2, true);
      if (this.#view.getUint16(at, true) === kind) {
        const length = Math.min(bytes, this.#end - at - 4);
        return new DataView(this.#view.buffer, this.#view.byteOffset + at + 4, length);
      }
      at += 4 + bytes;
    }
    return undefined;
  }

  /** Replaces 32-bit numbers that are all ones by the 64-bit numbers of the zip64 field, in order. */
  wide(numbers: readonly number[]): number[] {
    if (!numbers.includes(ALL_ONES)) return [...numbers];
    const field = this.#find(EXTRA_ZIP64);
    let at = 0;
    return numbers.map((number) => {
      if (number !== ALL_ONES || field === undefined || at + 8 > field.byteLength) return number;
      const wide = Number(field.getBigUint64(at, true));
      at += 8;
      if (!Number.isSafeInteger(wide)) throw new Damage("its directory has impossible sizes");
      return wide;
    });
  }

  /** The UTF-8 name that an old archiver stored beside another name, if it belongs to that name. */
  unicodePath(rawName: Uint8Array<ArrayBuffer>, isUtf8: boolean): string | undefined {
    const field = isUtf8 ? undefined : this.#find(EXTRA_UNICODE_PATH);
    if (field === undefined || field.byteLength < 5 || field.getUint8(0) !== 1) return undefined;
    if (field.getUint32(1, true) !== crc32(rawName)) return undefined;
    return new TextDecoder().decode(
      new Uint8Array(field.buffer, field.byteOffset + 5, field.byteLength - 5),
    );
  }

  /** The modification time, in UTC. */
  time(): Date | undefined {
    const timestamp = this.#find(EXTRA_TIMESTAMP);
    if (timestamp !== undefined && timestamp.byteLength >= 5 && (timestamp.getUint8(0) & 1) !== 0) {
      return new Date(timestamp.getInt32(1, true) * 1000);
    }
    const ntfs = this.#find(EXTRA_NTFS);
    // Four reserved bytes, the attribute 1, and its 24 bytes.
    if (ntfs !== undefined && ntfs.byteLength >= 32 && ntfs.getUint16(4, true) === 1) {
      return new Date(Number(ntfs.getBigUint64(8, true)) / 10_000 - NTFS_EPOCH_MS);
    }
    const unix = this.#find(EXTRA_UNIX);
    return unix !== undefined && unix.byteLength >= 8
      ? new Date(unix.getInt32(4, true) * 1000)
      : undefined;
  }
}
