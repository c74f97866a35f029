/**
 * The table of an MBR, read as `block/partitions/msdos.c` of the kernel reads it.
 *
 * ```
 * 0 … 445  boot code (a FAT boot sector has its parameters here)
 * 446      4 entries of 16 bytes: boot flag 1 | CHS 3 | type 1 | CHS 3 | first block 4 | blocks 4
 * 510      0x55 0xAA
 * ```
 *
 * An entry of an extended type begins a chain of further tables. In those tables, the first entry of an
 * extended type links to the next table; its first block counts from the extended partition. Entries
 * of other types are logical partitions; their first blocks count from the table. The type alone
 * decides, never the place in the table. When entries were once read by place, `partition:5` was the
 * next table and everything after it, and a write overwrote both.
 *
 * @module
 */

import { type Disk, END_OF_NUMBERS, type Part, type Parts } from "./parts.ts";
import { refused } from "../../disk/wrapper.ts";

/** An entry of a table. Its kind decides from where its blocks count. */
export interface MbrEntry {
  /** 0, or 0x80 for the boot partition. Any other value means that this is not a table. */
  readonly bootFlag: number;
  /** Type of the partition. */
  readonly type: number;
  /** First block. */
  readonly first: number;
  /** Number of blocks; 0 for an unused entry, whatever its type. */
  readonly blocks: number;
}

const SIGNATURE_AT = 510;
const ENTRIES_AT = 446;
const ENTRY_BYTES = 16;
const SECTOR_BYTES = 512;
/** The types of extended partitions: CHS, LBA and Linux's own. */
const TYPES_EXTENDED = [0x05, 0x0f, 0x85];
/** Bytes of an extended partition itself that the kernel shows: room for a boot loader. */
const EXTENDED_BYTES = 1024;
const FIRST_LOGICAL = 5;
/** The kernel stops after this many tables in a row without a partition: the chain may be a loop. */
const MAX_EMPTY = 100;

/** Whether a block has the signature of a table, which is that of any boot sector. */
export function hasSignature(block: Uint8Array): boolean {
  return block[SIGNATURE_AT] === 0x55 && block[SIGNATURE_AT + 1] === 0xaa;
}

/** The four entries of a table. */
export function mbrEntries(block: Uint8Array): MbrEntry[] {
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  return [0, 1, 2, 3].map((index) => {
    const at = ENTRIES_AT + index * ENTRY_BYTES;
    return {
      bootFlag: view.getUint8(at),
      type: view.getUint8(at + 4),
      first: view.getUint32(at + 8, true),
      blocks: view.getUint32(at + 12, true),
    };
  });
}

function isExtended({ type }: MbrEntry): boolean {
  return TYPES_EXTENDED.includes(type);
}

/**
 * The partitions of an MBR whose first block is `block`.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if the block is not a table.
 */
export async function readMbr(disk: Disk, block: Uint8Array): Promise<Parts> {
  const entries = mbrEntries(block);
  // Other blocks that end in 55 AA, the boot sectors of filesystems, have code or text there.
  if (entries.some(({ bootFlag }) => bootFlag !== 0 && bootFlag !== 0x80)) {
    const what = "its first block is a boot sector (of a filesystem, say)";
    throw refused("partition", `the disk has no partition table: ${what}`, "serve it as a whole");
  }
  const parts: Parts = new Map();
  const state = { parts, next: FIRST_LOGICAL };
  for (const [index, entry] of entries.entries()) {
    if (entry.blocks === 0) continue;
    const part = partOf(disk, 0, entry);
    if (!isExtended(entry)) {
      parts.set(index + 1, part);
      continue;
    }
    const shown = Math.max(disk.blockSize, EXTENDED_BYTES);
    parts.set(index + 1, { start: part.start, bytes: Math.min(part.bytes, shown) });
    await readChain(disk, part, state);
  }
  return parts;
}

function partOf({ blockSize }: Disk, origin: number, { first, blocks }: MbrEntry): Part {
  return { start: origin + first * blockSize, bytes: blocks * blockSize };
}

/** Adds the logical partitions of one extended partition (`parse_extended` of the kernel). */
async function readChain(
  disk: Disk,
  extended: Part,
  state: { readonly parts: Parts; next: number },
): Promise<void> {
  const end = extended.start + extended.bytes;
  let table = extended;
  for (let empty = 0; empty < MAX_EMPTY && state.next < END_OF_NUMBERS; empty++) {
    if (table.start + SECTOR_BYTES > disk.size) return;
    const block = await disk.read(table.start, disk.blockSize);
    if (!hasSignature(block)) return;
    const entries = mbrEntries(block);
    for (const [index, entry] of entries.entries()) {
      if (entry.blocks === 0 || isExtended(entry)) continue;
      const { start, bytes } = partOf(disk, table.start, entry);
      // The kernel trusts the first two entries; in some tables the others are garbage.
      const isWithin = start + bytes <= table.start + table.bytes && start + bytes <= end;
      if (index >= 2 && !isWithin) continue;
      state.parts.set(state.next++, { start, bytes });
      // Start counting anew: -1, because the loop adds one.
      empty = -1;
      if (state.next === END_OF_NUMBERS) return;
    }
    const link = entries.find((entry) => entry.blocks !== 0 && isExtended(entry));
    if (link === undefined) return;
    table = partOf(disk, extended.start, link);
  }
}
