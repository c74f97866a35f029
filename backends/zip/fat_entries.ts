/**
 * Directory entries of FAT, with long names (Microsoft's FAT specification, sections 6 and 7).
 *
 * @module
 */

import { ENTRY_BYTES } from "./fat_layout.ts";
import { type FatName, UNITS_PER_ENTRY } from "./names.ts";

/** The entry is read-only. */
export const ATTR_READ_ONLY = 0x01;
/** The entry is the volume's label. */
export const ATTR_VOLUME_ID = 0x08;
/** The entry is a folder. */
export const ATTR_DIRECTORY = 0x10;
/** The entry is a file that has not been backed up. */
export const ATTR_ARCHIVE = 0x20;
const ATTR_LONG_NAME = 0x0f;

/** The offsets of the UTF-16 units in an entry of a long name. */
const UNIT_PLACES = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/** Writes a sequence of directory entries. */
export class EntryWriter {
  /** All entries. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  #at = 0;

  /** A writer for `entries` entries. */
  constructor(entries: number) {
    this.bytes = new Uint8Array(entries * ENTRY_BYTES);
    this.#view = new DataView(this.bytes.buffer);
  }

  /** Writes an entry, preceded by its long name unless the short one is the same. */
  named(
    { long, short, isShort }: FatName,
    attributes: number,
    first: number,
    size: number,
    dosTime: number,
  ): void {
    if (!isShort) this.#longName(long, short);
    this.entry(short, attributes, first, size, dosTime);
  }

  /** Writes an entry with a short name. */
  entry(name: Uint8Array, attributes: number, first: number, size: number, dosTime: number): void {
    const [view, at] = [this.#view, this.#at];
    this.bytes.set(name, at);
    view.setUint8(at + 11, attributes);
    view.setUint16(at + 14, dosTime & 0xffff, true); // DIR_CrtTime
    view.setUint16(at + 16, dosTime >>> 16, true); // DIR_CrtDate
    view.setUint16(at + 18, dosTime >>> 16, true); // DIR_LstAccDate
    view.setUint16(at + 20, first >>> 16, true); // DIR_FstClusHI
    view.setUint16(at + 22, dosTime & 0xffff, true); // DIR_WrtTime
    view.setUint16(at + 24, dosTime >>> 16, true); // DIR_WrtDate
    view.setUint16(at + 26, first & 0xffff, true); // DIR_FstClusLO
    view.setUint32(at + 28, size, true); // DIR_FileSize
    this.#at += ENTRY_BYTES;
  }

  /** Writes the entries of a long name, which precede the short one, last part first. */
  #longName(long: string, short: Uint8Array): void {
    let sum = 0;
    for (const byte of short) sum = ((sum & 1) << 7) + (sum >> 1) + byte & 0xff;
    const parts = Math.ceil(long.length / UNITS_PER_ENTRY);
    for (let part = parts; part > 0; part--) {
      const [view, at] = [this.#view, this.#at];
      view.setUint8(at, part === parts ? part | 0x40 : part);
      view.setUint8(at + 11, ATTR_LONG_NAME);
      view.setUint8(at + 13, sum);
      for (const [index, place] of UNIT_PLACES.entries()) {
        view.setUint16(at + place, unitAt(long, (part - 1) * UNITS_PER_ENTRY + index), true);
      }
      this.#at += ENTRY_BYTES;
    }
  }
}

/** A unit of a name. One 0 follows its end, and then all ones. */
function unitAt(name: string, unit: number): number {
  if (unit < name.length) return name.charCodeAt(unit);
  return unit === name.length ? 0 : 0xffff;
}
