/**
 * The header of an overlay's file, and where the rest of it is.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { readAt, smallText, writeAllAt } from "../../uring/file.ts";
import { refused } from "../../disk/wrapper.ts";

/** Bytes of the header. */
export const HEADER_BYTES = 4096;
/** Bytes of a bitmap that are written at a time. */
export const PAGE_BYTES = 4096;
/** Blocks begin at a multiple of this, so that they are whole blocks of any filesystem. */
const DATA_ALIGNMENT = 1 << 20;

/** A boot id that no boot has. */
export const NO_BOOT = "";

/** The header, as JSON. */
export interface Header {
  readonly ublk: "cow";
  readonly version: 1;
  /** Bytes of the disk. */
  readonly size: number;
  /** Bytes of a block of the overlay. */
  readonly block: number;
  /** The boot in which the current bitmap was written; {@linkcode NO_BOOT} where it is not true. */
  readonly boot: string;
}

/** What stands in place of the header while the file is made; earlier versions refuse it. */
const UNFINISHED = { ublk: "unfinished cow" } as const;

/** Where the parts of the file are. */
export interface Layout {
  /** Bytes of each bitmap. */
  readonly bitmapBytes: number;
  /** Bytes of the header and both bitmaps. */
  readonly metadataBytes: number;
  /** Where the blocks begin. */
  readonly dataAt: number;
}

/** Where the parts are, for a disk and blocks of so many bytes. */
export function layoutOf(size: number, block: number): Layout {
  const bits = Math.ceil(size / block);
  const bitmapBytes = Math.ceil(bits / 8 / PAGE_BYTES) * PAGE_BYTES;
  const metadataBytes = HEADER_BYTES + 2 * bitmapBytes;
  const dataAt = Math.ceil(metadataBytes / DATA_ALIGNMENT) * DATA_ALIGNMENT;
  return { bitmapBytes, metadataBytes, dataAt };
}

/** A text that is another one after each boot of this machine. */
export function bootId(): string {
  const id = smallText("/proc/sys/kernel/random/boot_id")?.trim();
  if (id !== undefined) return id;
  throw refused("cow", "this machine has no boot_id", "mount /proc");
}

/** Writes a header. */
export function writeHeader(fd: number, header: Header): void {
  writePage(fd, header);
}

/** Notes that the file is being made. */
export function writeUnfinished(fd: number): void {
  writePage(fd, UNFINISHED);
}

function writePage(fd: number, content: object): void {
  const page = new Uint8Array(HEADER_BYTES);
  page.set(new TextEncoder().encode(`${JSON.stringify(content)}\n`));
  writeAllAt(fd, page, 0);
}

/** The header of a file; undefined where it is no overlay. */
export function readHeader(fd: number): Header | "unfinished" | undefined {
  const page = new Uint8Array(HEADER_BYTES);
  if (readAt(fd, page, 0) < HEADER_BYTES) return undefined;
  const text = new TextDecoder().decode(page.subarray(0, page.indexOf(10)));
  try {
    const header = JSON.parse(text) as Header | typeof UNFINISHED;
    if (header.ublk === UNFINISHED.ublk) return "unfinished";
    const known = header.ublk === "cow" && header.version === 1 &&
      Number.isSafeInteger(header.size) && header.size > 0 &&
      Number.isSafeInteger(header.block) && header.block >= 4096;
    return known ? header : undefined;
  } catch {
    return undefined;
  }
}

/** Throws where a call returned a negative errno. */
export function check(operation: string, result: number): void {
  if (result < 0) throw new UblkError("SYSCALL_FAILED", { operation, errno: -result });
}
