/**
 * The parts of a disk, and the disk as a table's reader sees it.
 *
 * @module
 */

/** A part of a disk, in bytes. */
export interface Part {
  /** Where it begins. */
  readonly start: number;
  /** How long it is. */
  readonly bytes: number;
}

/** The partitions of a disk by their numbers. */
export type Parts = Map<number, Part>;

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

/** Numbers end before this one (`DISK_MAX_PARTS` of the kernel). */
export const END_OF_NUMBERS = 256;
