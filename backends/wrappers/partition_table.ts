/**
 * Partition tables: where partition N of a disk is, by GPT or MBR.
 *
 * @module
 */

import { refused } from "./wrapper.ts";

/** A part of a disk, in bytes. */
export interface Part {
  /** Where it begins. */
  readonly start: number;
  /** How long it is. */
  readonly bytes: number;
}

/** Reads bytes of the disk. Both numbers are whole blocks. */
export type ReadDisk = (offset: number, bytes: number) => Promise<Uint8Array>;

/** The disk whose table is read. */
export interface Disk {
  /** Bytes of a logical block, in which tables count. */
  readonly blockSize: number;
  /** Bytes. */
  readonly size: number;
  /** Reads it. */
  readonly read: ReadDisk;
}

const MBR_SIGNATURE_AT = 510;
const MBR_ENTRIES_AT = 446;
const MBR_ENTRY_BYTES = 16;
const TYPE_GPT_PROTECTIVE = 0xee;
/** CHS, LBA and Linux's own kind of extended partition. */
const TYPES_EXTENDED = [0x05, 0x0f, 0x85];
const GPT_MAX_TABLE_BYTES = 1 << 20;
/** Partitions of a chain, more than anybody makes: a loop is one without an end. */
const MAX_LOGICAL = 100;
/** The kernel too stops after so many tables in a row that have no partition (`parse_extended`). */
const MAX_EMPTY = 100;

/**
 * Partition `number` of a disk, numbered as the kernel does: logical ones of an MBR from 5 on.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` where there is no such partition, or no table.
 */
export async function findPartition(disk: Disk, number: number): Promise<Part> {
  const parts = await readTable(disk);
  const part = parts.get(number);
  if (part === undefined) {
    const numbers = [...parts.keys()].join(", ");
    const hint = numbers === "" ? "it has none" : `it has ${numbers}`;
    throw refused("partition", `the disk has no partition ${number}`, hint);
  }
  const { start, bytes } = part;
  if (bytes > 0 && start + bytes <= disk.size) return part;
  const reason = `partition ${number} (${bytes} bytes at ${start}) ends beyond the disk`;
  throw refused("partition", reason, "the image may be cut off; check it with fdisk");
}

async function readTable(disk: Disk): Promise<Map<number, Part>> {
  const sector = await disk.read(0, disk.blockSize);
  if (sector[MBR_SIGNATURE_AT] !== 0x55 || sector[MBR_SIGNATURE_AT + 1] !== 0xaa) {
    throw refused("partition", "the disk has no partition table", "serve it as a whole");
  }
  const entries = mbrEntries(sector);
  const isGpt = entries.some(({ type }) => type === TYPE_GPT_PROTECTIVE);
  return isGpt ? await readGpt(disk) : await readMbr(disk, entries);
}

/** An entry of an MBR, in blocks. */
interface MbrEntry {
  readonly type: number;
  readonly first: number;
  readonly blocks: number;
}

function mbrEntries(sector: Uint8Array): MbrEntry[] {
  const view = new DataView(sector.buffer, sector.byteOffset, sector.byteLength);
  return [0, 1, 2, 3].map((index) => {
    const at = MBR_ENTRIES_AT + index * MBR_ENTRY_BYTES;
    return {
      type: view.getUint8(at + 4),
      first: view.getUint32(at + 8, true),
      blocks: view.getUint32(at + 12, true),
    };
  });
}

async function readMbr(disk: Disk, entries: readonly MbrEntry[]): Promise<Map<number, Part>> {
  const { blockSize } = disk;
  const parts = new Map<number, Part>();
  const part = (first: number, blocks: number) => ({
    start: first * blockSize,
    bytes: blocks * blockSize,
  });
  let extended: MbrEntry | undefined;
  for (const [index, entry] of entries.entries()) {
    if (entry.blocks === 0) continue;
    if (TYPES_EXTENDED.includes(entry.type)) extended ??= entry;
    else parts.set(index + 1, part(entry.first, entry.blocks));
  }
  if (extended === undefined) return parts;
  // A chain of tables, each with a partition relative to itself and a link relative to the first.
  let number = 5;
  // Counted by themselves: a loop of tables without partitions never came to an end.
  let empty = 0;
  for (let at = extended.first; number < 5 + MAX_LOGICAL && empty < MAX_EMPTY;) {
    if ((at + 1) * blockSize > disk.size) break;
    const sector = await disk.read(at * blockSize, blockSize);
    if (sector[MBR_SIGNATURE_AT] !== 0x55 || sector[MBR_SIGNATURE_AT + 1] !== 0xaa) break;
    const [logical, next] = mbrEntries(sector);
    if (logical.blocks > 0) {
      parts.set(number++, part(at + logical.first, logical.blocks));
      empty = 0;
    } else empty++;
    if (!TYPES_EXTENDED.includes(next.type) || next.blocks === 0 || next.first === 0) break;
    at = extended.first + next.first;
  }
  return parts;
}

async function readGpt({ blockSize, size, read }: Disk): Promise<Map<number, Part>> {
  if (size < 2 * blockSize) throw damaged("the disk ends before it");
  const header = await read(blockSize, blockSize);
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const signature = new TextDecoder().decode(header.subarray(0, 8));
  if (signature !== "EFI PART") {
    throw refused(
      "partition",
      `there is no GPT in block 1 of ${blockSize} bytes`,
      "the table may have been made for blocks of another size: try --block-size 512 or 4096",
    );
  }
  const headerBytes = view.getUint32(12, true);
  if (headerBytes < 92 || headerBytes > blockSize) throw damaged("its header has an odd length");
  const own = header.slice(0, headerBytes);
  // The header's checksum is taken with its own field at zero.
  own.fill(0, 16, 20);
  if (crc32(own) !== view.getUint32(16, true)) throw damaged("its header's checksum is wrong");
  const count = view.getUint32(80, true);
  const entryBytes = view.getUint32(84, true);
  const tableAt = Number(view.getBigUint64(72, true)) * blockSize;
  const tableBytes = count * entryBytes;
  const whole = Math.ceil(tableBytes / blockSize) * blockSize;
  if (entryBytes < 128 || tableBytes > GPT_MAX_TABLE_BYTES || tableAt + whole > size) {
    throw damaged("its entries are not possible");
  }
  const table = (await read(tableAt, whole)).subarray(0, tableBytes);
  if (crc32(table) !== view.getUint32(88, true)) throw damaged("its entries' checksum is wrong");
  const entries = new DataView(table.buffer, table.byteOffset, table.byteLength);
  const parts = new Map<number, Part>();
  for (let index = 0; index < count; index++) {
    const at = index * entryBytes;
    // An entry that nobody uses has a type of zeroes.
    if (table.subarray(at, at + 16).every((byte) => byte === 0)) continue;
    const first = Number(entries.getBigUint64(at + 32, true));
    const last = Number(entries.getBigUint64(at + 40, true));
    parts.set(index + 1, { start: first * blockSize, bytes: (last - first + 1) * blockSize });
  }
  return parts;
}

function damaged(what: string): Error {
  return refused("partition", `the GPT is damaged: ${what}`, "repair it with `sgdisk --verify`");
}

/** The CRC-32 of GPT (and of Ethernet, zip and PNG). */
export function crc32(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc >>> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
