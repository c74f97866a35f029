/**
 * The parts of a disk, and the view of the disk for readers of tables.
 *
 * @module
 */

/** A part of a disk, in bytes. */
export interface Part {
  /** Offset of its first byte. */
  readonly start: number;
  /** Length in bytes. */
  readonly bytes: number;
}

/** The partitions of a disk by their numbers. */
export type Parts = Map<number, Part>;

/** Reads bytes of the disk. Both numbers are whole blocks. */
export type ReadDisk = (offset: number, bytes: number) => Promise<Uint8Array>;

/** The disk whose table is read. */
export interface Disk {
  /** Bytes of a logical block, the unit of tables. */
  readonly blockSize: number;
  /** Size in bytes. */
  readonly size: number;
  /** Reads bytes of it. */
  readonly read: ReadDisk;
}

/** The number after the last possible one (`DISK_MAX_PARTS` of the kernel). */
export const END_OF_NUMBERS = 256;
