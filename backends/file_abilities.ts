/**
 * The abilities of the file or device below a disk: its block sizes, and whether it can free space.
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
 * The logical block size of a disk if the options give none. Over a device it is the device's, so that
 * every request can be passed on as it is. With `O_DIRECT` it is the smallest that the filesystem
 * accepts. A recovered ublk device keeps its block size if such requests still work: the device below
 * may have been replaced, and a reflink of a file on XFS changes the smallest size.
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
  // A device may have larger blocks than any ublk disk can have.
  const least = Math.min(limits?.blockSize ?? SMALLEST_BLOCK, LARGEST_BLOCK);
  const possible = BLOCK_SIZES.filter((size) => size >= least);
  if (!direct) return possible[0];
  const fits = (size: number) => size % offset === 0 && goesThrough(size);
  return possible.find(fits) ?? possible[0];
}

/** Reads one block without the page cache. Returns bytes or a negative errno. */
export function readDirect(fd: number, bytes: number): number {
  using page = Mapping.anonymous(pageBytes());
  return readAt(fd, new Uint8Array(page.buffer(0, bytes)), 0);
}

/**
 * Whether a device accepts every discard and every range of zeroes. A device without the ability fails
 * all of them (EOPNOTSUPP), and a device with larger blocks fails ranges of partial blocks (EINVAL).
 * The disk then offers neither, and the kernel writes zeroes itself.
 */
export function deviceCanPunch(limits: DeviceLimits | undefined, blockSize: number): boolean {
  return limits !== undefined && limits.zeroes && blockSize % limits.blockSize === 0;
}

/** Tries to punch a hole past the end, which changes nothing. */
export function canPunch(fd: number, bytes: number, blockSize: number): boolean {
  return punchFile(fd, bytes, blockSize) === 0;
}

/** The topology that the kernel's loop reports: the filesystem's block, and whether the disk rotates. */
export function topologyOfFile({ filesystem, blockBytes }: FileStatus): Topology {
  return { rotational: rotates(filesystem), discardGranularityBytes: blockBytes };
}
