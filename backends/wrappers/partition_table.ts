/**
 * Partition tables (GPT and MBR): the place of partition N of a disk. Every number, start and length
 * matches the kernel's: a program that has written to `/dev/sda5` must find its bytes in
 * `partition:5`, whatever the table looks like.
 *
 * @module
 */

import { hasProtectiveEntry, readGpt } from "./gpt_table.ts";
import { hasSignature, readMbr } from "./mbr_table.ts";
import type { Disk, Part, Parts } from "./parts.ts";
import { refused } from "../../disk/wrapper.ts";

/** The maximum of numbers that an error names. */
const MAX_NAMED = 16;

/**
 * Partition `number` of a disk, numbered as in the kernel: logical partitions of an MBR from 5 on.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if there is no such partition, or no table.
 */
export async function findPartition(disk: Disk, number: number): Promise<Part> {
  const parts = await readPartitions(disk);
  const part = parts.get(number);
  if (part !== undefined) return part;
  const numbers = [...parts.keys()].sort((a, b) => a - b);
  // A chain that loops has up to 255.
  const named = numbers.length > MAX_NAMED
    ? `${numbers.length} up to ${numbers[numbers.length - 1]}`
    : numbers.join(", ") || "none";
  throw refused("partition", `the disk has no partition ${number}`, `it has ${named}`);
}

/**
 * All partitions of a disk as the kernel would show them.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if there is no table, or the kernel would not accept it.
 */
export async function readPartitions(disk: Disk): Promise<Parts> {
  const sector = await disk.read(0, disk.blockSize);
  const found = hasProtectiveEntry(sector)
    ? await readGpt(disk, sector)
    : hasSignature(sector)
    ? await readMbr(disk, sector)
    : await withoutSignature(disk, sector);
  return withinDisk(found, disk.size);
}

/** Handles a first block without signature. A GPT whose first block was wiped can be restored. */
async function withoutSignature(disk: Disk, sector: Uint8Array): Promise<Parts> {
  if (disk.size >= 2 * disk.blockSize) await readGpt(disk, sector, { ifAny: true });
  throw refused("partition", "the disk has no partition table", "serve it as a whole");
}

/**
 * Clips partitions to the disk, as the kernel's `blk_add_partition` does. A partition that begins
 * beyond the disk is dropped, and one that ends beyond it ends with the disk.
 */
function withinDisk(parts: Parts, size: number): Parts {
  for (const [number, { start, bytes }] of parts) {
    if (start >= size || bytes <= 0) parts.delete(number);
    else if (start + bytes > size) parts.set(number, { start, bytes: size - start });
  }
  return parts;
}
