/**
 * The limits of the devices below a disk, from `/sys/dev/block`. The kernel's loop driver reads the
 * same ones (`loop_update_limits`).
 *
 * @module
 */

import { queueFolder } from "../uring/device_queue.ts";
import { smallText } from "../uring/file.ts";
import type { Topology } from "./backend.ts";

/** The limits of a block device. */
export interface DeviceLimits {
  /** Size of its logical block in bytes. */
  readonly blockSize: number;
  /** The device refuses writes (`BLKROGET`). */
  readonly readOnly: boolean;
  /**
   * The device itself can zero a range (`BLKDEV_ZERO_NOFALLBACK`). Both discards and write-zeroes
   * come down to that, and both fail on a device that cannot.
   */
  readonly zeroes: boolean;
  /** Hints on using the device efficiently. */
  readonly topology: Topology;
}

/** The driver's maximum for the physical block and for request sizes, in bytes. */
const MAX_BYTES = 2 ** 28;

/** Reads the limits of a block device by its `major:minor`; undefined without sysfs. */
export function deviceLimits(device: string): DeviceLimits | undefined {
  const own = `/sys/dev/block/${device}`;
  const queue = queueFolder(device);
  const number = (file: string) => Number(smallText(file) ?? 0);
  const blockSize = number(`${queue}/logical_block_size`);
  if (blockSize === 0) return undefined;
  const physical = Math.max(number(`${queue}/physical_block_size`), blockSize);
  const granularity = number(`${queue}/discard_granularity`);
  return {
    blockSize,
    readOnly: number(`${own}/ro`) === 1,
    zeroes: number(`${queue}/write_zeroes_max_bytes`) > 0,
    topology: {
      physicalBlockSize: possible(physical, blockSize),
      ioMinBytes: possible(number(`${queue}/minimum_io_size`), physical),
      ioOptBytes: possible(number(`${queue}/optimal_io_size`), physical),
      rotational: rotates(device),
      // 0 for a device that has write-zeroes but no discard.
      discardGranularityBytes: granularity % blockSize === 0 && granularity > 0
        ? granularity
        : undefined,
      discardAlignmentBytes: number(`${own}/discard_alignment`),
    },
  };
}

/** Whether a device, by `major:minor`, rotates. False if it is no block device: network, memory. */
export function rotates(device: string): boolean {
  return smallText(`${queueFolder(device)}/rotational`)?.trim() === "1";
}

/**
 * The greatest power of two that divides a size, because ublk accepts only powers of two. A
 * multiple of 192 KiB, for example, is also one of 64 KiB. Undefined if the result is below `min`,
 * where it says nothing.
 */
export function possible(bytes: number, min: number): number | undefined {
  if (bytes === 0 || bytes > MAX_BYTES) return undefined;
  const power = bytes & -bytes;
  return power >= min ? power : undefined;
}

/** Fits a topology to a disk whose logical block may be larger than that of the device below. */
export function fitted(topology: Topology, blockSize: number): Topology {
  const { physicalBlockSize, ioMinBytes, ioOptBytes, discardGranularityBytes } = topology;
  const least = (bytes: number | undefined) => bytes && Math.max(bytes, blockSize);
  return {
    ...topology,
    physicalBlockSize: least(physicalBlockSize),
    ioMinBytes: least(ioMinBytes),
    ioOptBytes: least(ioOptBytes),
    discardGranularityBytes: discardGranularityBytes &&
      Math.ceil(discardGranularityBytes / blockSize) * blockSize,
  };
}

/**
 * The limits of a stripe over several devices or files: the strictest limits of the members, and
 * the sizes of a chunk and a row, as md sets them for RAID-0.
 */
export function striped(topologies: readonly Topology[], chunkBytes: number): Topology {
  const most = (of: (topology: Topology) => number | undefined) => {
    const values = topologies.map(of).filter((value) => value !== undefined);
    return values.length === 0 ? undefined : Math.max(...values);
  };
  const granularity = most(({ discardGranularityBytes }) => discardGranularityBytes);
  const physical = most(({ physicalBlockSize }) => physicalBlockSize);
  const count = topologies.length;
  return {
    physicalBlockSize: physical,
    ioMinBytes: Math.max(chunkBytes, most(({ ioMinBytes }) => ioMinBytes) ?? 0, physical ?? 0),
    ioOptBytes: possible(chunkBytes * count, physical ?? 1),
    rotational: topologies.some(({ rotational }) => rotational === true),
    // A granularity larger than a chunk spans all members.
    discardGranularityBytes: granularity !== undefined && granularity > chunkBytes
      ? granularity * count
      : granularity,
    dmaAlignmentBytes: most(({ dmaAlignmentBytes }) => dmaAlignmentBytes),
  };
}

/**
 * The limits of the part of a disk that begins at `start`, where its blocks have another alignment.
 */
export function shifted(topology: Topology, start: number, blockSize: number): Topology {
  const { discardGranularityBytes: granularity = 0, discardAlignmentBytes = 0 } = topology;
  // The greatest power of two that divides the start. No bit shifts: the start may exceed 2^31.
  let power = blockSize;
  while (power < MAX_BYTES && start % (power * 2) === 0) power *= 2;
  const within = (bytes: number | undefined) => bytes && Math.min(bytes, power);
  return {
    ...topology,
    physicalBlockSize: within(topology.physicalBlockSize),
    ioMinBytes: within(topology.ioMinBytes),
    ioOptBytes: within(topology.ioOptBytes),
    discardAlignmentBytes: granularity === 0
      ? discardAlignmentBytes
      : (discardAlignmentBytes + granularity - start % granularity) % granularity,
  };
}
