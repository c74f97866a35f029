/**
 * The abilities of what a disk is in: the blocks it takes, and whether it gives back space.
 *
 * @module
 */

import { type FileStatus, punchFile, readAt } from "../uring/file.ts";
import { Mapping, pageBytes } from "../uring/mapping.ts";
import type { Topology } from "../disk/backend.ts";
import { type DeviceLimits, rotates } from "../disk/device_limits.ts";
import { BLOCK_SIZES } from "../uapi/block_sizes.ts";

const SMALLEST_BLOCK = BLOCK_SIZES[0];
const LARGEST_BLOCK = BLOCK_SIZES[BLOCK_SIZES.length - 1];

/**
 * The logical block of a disk for which none is wished: that of the device below, so that every
 * request goes through as it is; past the page cache, the least that the filesystem takes. A ublk
 * device that is recovered keeps its own, if requests of it go through: the device below may have
 * been replaced, and a reflink of a file on XFS changes the least.
 */
export function defaultBlockSize(
  fd: number,
  { directAlignment }: FileStatus,
  limits: DeviceLimits | undefined,
  { direct, deviceBlockSize }: { readonly direct: boolean; readonly deviceBlockSize?: number },
): number {
  const goesThrough = (size: number) => !direct || readDirect(fd, size) >= 0;
  if (deviceBlockSize !== undefined && goesThrough(deviceBlockSize)) return deviceBlockSize;
  const { offset = 1 } = directAlignment ?? {};
  // A device may have blocks larger than any that a ublk disk can have.
  const least = Math.min(limits?.blockSize ?? SMALLEST_BLOCK, LARGEST_BLOCK);
  const possible = BLOCK_SIZES.filter((size) => size >= least);
  if (!direct) return possible[0];
  const fits = (size: number) => size % offset === 0 && goesThrough(size);
  return possible.find(fits) ?? possible[0];
}

/** One block, read past the page cache: bytes or a negative errno. */
export function readDirect(fd: number, bytes: number): number {
  using page = Mapping.anonymous(pageBytes());
  return readAt(fd, new Uint8Array(page.buffer(0, bytes)), 0);
}

/**
 * Whether a device takes each discard and each range of zeroes. One without the ability fails every
 * one of them (EOPNOTSUPP), and one with larger blocks those that are not in whole ones (EINVAL):
 * then the kernel is told of neither, and writes zeroes itself.
 */
export function deviceCanPunch(limits: DeviceLimits | undefined, blockSize: number): boolean {
  return limits !== undefined && limits.zeroes && blockSize % limits.blockSize === 0;
}

/** Tried where it changes nothing: past the end. */
export function canPunch(fd: number, bytes: number, blockSize: number): boolean {
  return punchFile(fd, bytes, blockSize) === 0;
}

/** As the kernel's loop reports a file: its filesystem's block, and whether the disk below rotates. */
export function topologyOfFile({ filesystem, blockBytes }: FileStatus): Topology {
  return { rotational: rotates(filesystem), discardGranularityBytes: blockBytes };
}
