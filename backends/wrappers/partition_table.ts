/**
 * Partition tables: where partition N of a disk is, by GPT or MBR. The kernel is the measure for
 * every number, start and length: a program that has written to `/dev/sda5` must find its bytes in
 * `partition:5`, whatever the table looks like.
 *
 * @module
 */

import { hasProtectiveEntry, readGpt } from "./gpt_table.ts";
import { hasSignature, readMbr } from "./mbr_table.ts";
import type { Disk, Part, Parts } from "./parts.ts";
import { refused } from "../../disk/wrapper.ts";

/** Numbers that a refusal names, at most. */
const MAX_NAMED = 16;

/**
 * Partition `number` of a disk, numbered as the kernel does: logical ones of an MBR from 5 on.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` where there is no such partition, or no table.
 */
export async function findPartition(disk: Disk, number: number): Promise<Part> {
  const parts = await readPartitions(disk);
  const part = parts.get(number);
  if (part !== undefined) return part;
  const numbers = [...parts.keys()].sort((a, b) => a - b);
  // A chain that is a loop has up to 255.
  const named = numbers.length > MAX_NAMED
    ? `${numbers.length} up to ${numbers[numbers.length - 1]}`
    : numbers.join(", ") || "none";
  throw refused("partition", `the disk has no partition ${number}`, `it has ${named}`);
}

/**
 * All partitions of a disk that the kernel would show, as it would show them.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` where there is no table, or the kernel would not take it.
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

/** A GPT whose first block was wiped is worth a word of its own: it can be had back. */
async function withoutSignature(disk: Disk, sector: Uint8Array): Promise<Parts> {
  if (disk.size >= 2 * disk.blockSize) await readGpt(disk, sector, { ifAny: true });
  throw refused("partition", "the disk has no partition table", "serve it as a whole");
}

/**
 * As `blk_add_partition` of the kernel does: one that begins beyond the disk is none, and one that
 * ends beyond it ends where the disk does.
 */
function withinDisk(parts: Parts, size: number): Parts {
  for (const [number, { start, bytes }] of parts) {
    if (start >= size || bytes <= 0) parts.delete(number);
    else if (start + bytes > size) parts.set(number, { start, bytes: size - start });
  }
  return parts;
}
