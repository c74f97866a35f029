/**
 * The header of an overlay's file, and where the rest of it is.
 *
 * @module
 */

import type { File, Files } from "../../files/port.ts";
import { readUpTo, writeWhole } from "../../files/whole.ts";
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

/** A text that is another one after each boot of the files' machine. */
export function bootOf(files: Files): string {
  const id = files.boot();
  if (id !== undefined) return id;
  throw refused("cow", "this machine has no boot_id", "mount /proc");
}

/** Writes a header. */
export function writeHeader(file: File, header: Header): void {
  writePage(file, header);
}

/** Notes that the file is being made. */
export function writeUnfinished(file: File): void {
  writePage(file, UNFINISHED);
}

function writePage(file: File, content: object): void {
  writeWhole(file, pageOf(content), 0);
}

function pageOf(content: object): Uint8Array<ArrayBuffer> {
  const page = new Uint8Array(HEADER_BYTES);
  page.set(new TextEncoder().encode(`${JSON.stringify(content)}\n`));
  return page;
}

/**
 * Whether a file that is no longer than its first page has all of that, or a part. Whatever was to
 * end its making then, it was once taken for somebody's own file, and had to be removed by hand.
 */
function isBegun(page: Uint8Array): boolean {
  const unfinished = pageOf(UNFINISHED);
  return page.every((byte, at) => byte === 0 || byte === unfinished[at]);
}

/** The header of a file; undefined where it is no overlay. */
export function readHeader(file: File): Header | "unfinished" | undefined {
  const page = new Uint8Array(HEADER_BYTES);
  const bytes = readUpTo(file, page, 0);
  if (file.size() <= HEADER_BYTES && isBegun(page)) return "unfinished";
  if (bytes < HEADER_BYTES) return undefined;
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
