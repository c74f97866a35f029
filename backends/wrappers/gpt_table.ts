/**
 * A GPT, read as `block/partitions/efi.c` of the kernel reads it: it needs a protective MBR and a
 * sound first copy. The kernel does not use the copy at the end of the disk by itself (a disk that is
 * cut off, or in the wrong place, would have the wrong one), so neither does this reader. But the
 * error says whether that copy is sound, and which command restores the first copy from it.
 *
 * Little-endian, in block 1 and again in the last block of the disk:
 *
 * ```
 *  0 "EFI PART"       8 revision 4     12 header's bytes 4   16 header's CRC-32 4
 * 24 own block 8     32 other copy 8   40 first usable 8     48 last usable 8
 * 72 entries from 8  80 entries 4      84 bytes of each 4    88 entries' CRC-32 4
 * ```
 *
 * An entry: type 16 | id 16 | first block 8 | last block 8 | attributes 8 | name 72.
 *
 * @module
 */

import { BLOCK_SIZES } from "../../uapi/block_sizes.ts";
import { formatSize } from "../../disk/size.ts";
import { hasSignature, mbrEntries } from "./mbr_table.ts";
import { type Disk, END_OF_NUMBERS, type Parts } from "./parts.ts";
import { refused } from "../../disk/wrapper.ts";

const SIGNATURE = "EFI PART";
const TYPE_PROTECTIVE = 0xee;
/** The first copy's block. */
const PRIMARY_BLOCK = 1;
const HEADER_BYTES = 92;
const ENTRY_BYTES = 128;
/** `KMALLOC_MAX_SIZE`: the kernel accepts no larger table. */
const MAX_TABLE_BYTES = 4 << 20;

const NO_COPY = "restore it from a backup of the table (`sgdisk -l FILE`), or serve it as a whole";

/** A sound copy of a table. */
interface Sound {
  readonly parts: Parts;
}

/** A copy of a table that the kernel would not accept. */
interface Fault {
  /** The fault, as words that follow "the GPT". */
  readonly fault: string;
  /** Whether it has the signature. */
  readonly signed: boolean;
  /** The bytes that the disk would need for it, if the disk has fewer. */
  readonly diskBytes?: number;
  /** The block of the other copy, if this header can be trusted. */
  readonly other?: number;
}

/** Whether any entry of the first block says that the disk has a GPT. */
export function hasProtectiveEntry(block: Uint8Array): boolean {
  return hasSignature(block) && mbrEntries(block).some(({ type }) => type === TYPE_PROTECTIVE);
}

/**
 * The partitions of a GPT.
 *
 * @param mbr The disk's first block.
 * @param ifAny Return nothing if there is no sign of a GPT, instead of throwing an error.
 * @throws {UblkError} `INVALID_ARGUMENT` if the kernel would not accept the table. The hint is the
 *   remedy: the right block size, the whole disk, or a command.
 */
export async function readGpt(
  disk: Disk,
  mbr: Uint8Array,
  { ifAny = false } = {},
): Promise<Parts> {
  const primary = await readCopy(disk, PRIMARY_BLOCK);
  const isProtected = hasSignature(mbr) &&
    mbrEntries(mbr).some(({ type, first }) => type === TYPE_PROTECTIVE && first === PRIMARY_BLOCK);
  if ("parts" in primary) {
    if (isProtected) return primary.parts;
    const reason = "the GPT has no protective MBR in the disk's first block";
    throw refused("partition", reason, restore(disk));
  }
  if (!primary.signed) {
    const other = await otherBlockSize(disk);
    if (other !== undefined) {
      const reason = `the GPT was made for blocks of ${other} bytes, not ${disk.blockSize}`;
      throw refused("partition", reason, `give --block-size ${other}`);
    }
  }
  if (primary.diskBytes !== undefined) {
    const { diskBytes } = primary;
    const reason = `the GPT is of a disk of ${formatSize(diskBytes)} (${diskBytes} bytes), and ` +
      `this one has ${formatSize(disk.size)}`;
    throw refused("partition", reason, "the disk or image was cut off: get all of it");
  }
  const copy = await soundCopy(disk, primary);
  if (ifAny && !primary.signed && !copy) return new Map();
  const reason = `the GPT is damaged: ${primary.fault}`;
  if (!copy) {
    throw refused("partition", `${reason}, and there is no sound copy at the end`, NO_COPY);
  }
  // If the MBR is missing too, sgdisk assumes that the disk has no table, and restores nothing.
  const remedy = primary.signed || isProtected
    ? restore(disk)
    : restore(disk, "gdisk", ": answer 1 (GPT), then w");
  throw refused("partition", `${reason}; its copy at the end is sound`, remedy);
}

/**
 * The command that rewrites the protective MBR and the first copy, from the last copy. It assumes that
 * a file has blocks of 512 bytes; with other blocks it would overwrite the sound copy.
 */
function restore({ blockSize }: Disk, command = "sgdisk -e", how = ""): string {
  const what = blockSize === 512
    ? "the disk or image (package gdisk)"
    : `a device with such blocks (losetup -b ${blockSize})`;
  return `restore it with \`${command}\` of ${what}${how}`;
}

/** Whether a sound copy is at the place that the first copy names, or else in the last block. */
async function soundCopy(disk: Disk, primary: Fault): Promise<boolean> {
  const last = disk.size / disk.blockSize - 1;
  for (const block of new Set([primary.other ?? last, last])) {
    if (block > PRIMARY_BLOCK && "parts" in await readCopy(disk, block)) return true;
  }
  return false;
}

/** A block size, other than the disk's own, for which the disk has a sound table. */
async function otherBlockSize(disk: Disk): Promise<number | undefined> {
  for (const blockSize of BLOCK_SIZES) {
    if (blockSize === disk.blockSize) continue;
    const size = Math.floor(disk.size / blockSize) * blockSize;
    const read = (offset: number, bytes: number) => readUnaligned(disk, offset, bytes);
    if ("parts" in await readCopy({ blockSize, size, read }, PRIMARY_BLOCK)) return blockSize;
  }
}

/** Reads bytes that need not be whole blocks of the disk. */
async function readUnaligned(disk: Disk, offset: number, bytes: number): Promise<Uint8Array> {
  const { blockSize } = disk;
  const start = Math.floor(offset / blockSize) * blockSize;
  const end = Math.ceil((offset + bytes) / blockSize) * blockSize;
  return (await disk.read(start, end - start)).subarray(offset - start, offset - start + bytes);
}

/** Reads one copy of the table and checks it as `is_gpt_valid` does. */
async function readCopy(disk: Disk, block: number): Promise<Sound | Fault> {
  const { blockSize, size, read } = disk;
  const lastBlock = Math.floor(size / blockSize) - 1;
  const unsigned = (fault: string): Fault => ({ fault, signed: false });
  if (block > lastBlock) return unsigned("the disk ends before it");
  const header = await read(block * blockSize, blockSize);
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const u32 = (at: number) => view.getUint32(at, true);
  const u64 = (at: number) => Number(view.getBigUint64(at, true));
  const signature = new TextDecoder("latin1").decode(header.subarray(0, SIGNATURE.length));
  if (signature !== SIGNATURE) return unsigned(`block ${block} has no header`);

  const signed = (fault: string, more: Partial<Fault> = {}): Fault => ({
    fault,
    signed: true,
    ...more,
  });
  const headerBytes = u32(12);
  if (headerBytes < HEADER_BYTES || headerBytes > blockSize) {
    return signed("its header has an odd length");
  }
  const own = header.slice(0, headerBytes);
  // The header's checksum is computed with its own field as zero.
  own.fill(0, 16, 20);
  if (crc32(own) !== u32(16)) return signed("its header's checksum is wrong");

  // The header's checksum is right, so its fields can be trusted from here on.
  const other = u64(32);
  const [first, last] = [u64(40), u64(48)];
  if (u64(24) !== block) return signed("its header is that of another block");
  if (first > lastBlock || last > lastBlock) {
    return signed("it goes on beyond the disk", {
      diskBytes: (Math.max(other, last) + 1) * blockSize,
    });
  }
  if (last < first) return signed("its header has no room for partitions", { other });
  const [count, entryBytes] = [u32(80), u32(84)];
  const tableAt = u64(72) * blockSize;
  const tableBytes = count * entryBytes;
  const whole = Math.ceil(tableBytes / blockSize) * blockSize;
  const isPossible = entryBytes === ENTRY_BYTES && count > 0 && tableBytes <= MAX_TABLE_BYTES &&
    tableAt + whole <= size;
  if (!isPossible) return signed("its entries are not possible", { other });
  const table = (await read(tableAt, whole)).subarray(0, tableBytes);
  if (crc32(table) !== u32(88)) return signed("its entries' checksum is wrong", { other });
  return { parts: partsOf(table, blockSize, lastBlock) };
}

/** The entries that the kernel accepts (`is_pte_valid`). */
function partsOf(table: Uint8Array, blockSize: number, lastBlock: number): Parts {
  const parts: Parts = new Map();
  const entries = new DataView(table.buffer, table.byteOffset, table.byteLength);
  const count = Math.min(table.length / ENTRY_BYTES, END_OF_NUMBERS - 1);
  for (let index = 0; index < count; index++) {
    const at = index * ENTRY_BYTES;
    // An unused entry has a type of zeroes.
    if (table.subarray(at, at + 16).every((byte) => byte === 0)) continue;
    const first = Number(entries.getBigUint64(at + 32, true));
    const last = Number(entries.getBigUint64(at + 40, true));
    if (first > lastBlock || last > lastBlock) continue;
    parts.set(index + 1, { start: first * blockSize, bytes: (last - first + 1) * blockSize });
  }
  return parts;
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
