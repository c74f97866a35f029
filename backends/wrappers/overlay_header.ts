/**
 * The header of an overlay's file, and the layout of the file.
 *
 * @module
 */

import type { File, Files } from "../../files/port.ts";
import { readUpTo, writeWhole } from "../../files/whole.ts";
import { refused } from "../../disk/wrapper.ts";

/** Bytes of the header. */
export const HEADER_BYTES = 4096;
/** The unit in bytes in which a bitmap is written. */
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
  /** The boot in which the current bitmap was written; {@linkcode NO_BOOT} if it is not true. */
  readonly boot: string;
}

/** The placeholder for the header while the file is made. Earlier versions refuse it. */
const UNFINISHED = { ublk: "unfinished cow" } as const;

/** The places of the file's parts. */
export interface Layout {
  /** Bytes of each bitmap. */
  readonly bitmapBytes: number;
  /** Bytes of the header and both bitmaps. */
  readonly metadataBytes: number;
  /** Offset of the first block. */
  readonly dataAt: number;
}

/** The layout for a disk of `size` bytes and blocks of `block` bytes. */
export function layoutOf(size: number, block: number): Layout {
  const bits = Math.ceil(size / block);
  const bitmapBytes = Math.ceil(bits / 8 / PAGE_BYTES) * PAGE_BYTES;
  const metadataBytes = HEADER_BYTES + 2 * bitmapBytes;
  const dataAt = Math.ceil(metadataBytes / DATA_ALIGNMENT) * DATA_ALIGNMENT;
  return { bitmapBytes, metadataBytes, dataAt };
}

/** A text that differs after each boot of the files' machine. */
export function bootOf(files: Files): string {
  const id = files.boot();
  if (id !== undefined) return id;
  throw refused("cow", "this machine has no boot_id", "mount /proc");
}

/** Writes a header. */
export function writeHeader(file: File, header: Header): void {
  writePage(file, header);
}

/** Writes the placeholder, which says that the file is being made. */
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
 * Whether a file no longer than its first page holds the placeholder, or a part of it. If the making
 * ended there, the file was once mistaken for a user's own, and had to be removed by hand.
 */
function isBegun(page: Uint8Array): boolean {
  const unfinished = pageOf(UNFINISHED);
  return page.every((byte, at) => byte === 0 || byte === unfinished[at]);
}

/** The header of a file; undefined if the file is not an overlay. */
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
