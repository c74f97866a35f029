/**
 * The limits of the devices below a disk, from `/sys/dev/block`: what the kernel's own loop driver
 * reads off them (`loop_update_limits`).
 *
 * @module
 */

import { smallText } from "../uring/file.ts";
import type { Topology } from "./backend.ts";

/** The limits of a block device. */
export interface DeviceLimits {
  /** Bytes of its logical block. */
  readonly blockSize: number;
  /** It refuses writes (`BLKROGET`). */
  readonly readOnly: boolean;
  /**
   * It makes a range read as zeroes by itself (`BLKDEV_ZERO_NOFALLBACK`), which is what both
   * discards and zeroes come to. A device that does not fails every one of them.
   */
  readonly zeroes: boolean;
  /** How it is best used. */
  readonly topology: Topology;
}

/** The driver takes no physical block or request size above this, in bytes. */
const MAX_BYTES = 2 ** 28;

/** The limits of a block device, by `major:minor`; undefined where there is no sysfs. */
export function deviceLimits(device: string): DeviceLimits | undefined {
  const own = `/sys/dev/block/${device}`;
  const queue = queueOf(device);
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
      // 0 where it has zeroes and no discard.
      discardGranularityBytes: granularity % blockSize === 0 && granularity > 0
        ? granularity
        : undefined,
      discardAlignmentBytes: number(`${own}/discard_alignment`),
    },
  };
}

/** Whether a block device rotates, by `major:minor`; false for what is none (a network, memory). */
export function rotates(device: string): boolean {
  return smallText(`${queueOf(device)}/rotational`)?.trim() === "1";
}

/** A partition has none of its own. */
function queueOf(device: string): string {
  const own = `/sys/dev/block/${device}`;
  return smallText(`${own}/partition`) === undefined ? `${own}/queue` : `${own}/../queue`;
}

/**
 * The greatest power of two that divides a size: ublk has no others, and a multiple of 192 KiB is
 * one of 64 KiB. Undefined where that is less than `min`, and says nothing.
 */
export function possible(bytes: number, min: number): number | undefined {
  if (bytes === 0 || bytes > MAX_BYTES) return undefined;
  const power = bytes & -bytes;
  return power >= min ? power : undefined;
}

/** The same for a disk whose logical block may be larger than that of what is below. */
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
 * The limits of a disk over several devices or files, a chunk of each in turn: the strictest of
 * theirs, and the sizes of chunk and row, as md has them for RAID-0.
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
    // Larger than a chunk, it is a range of every file.
    discardGranularityBytes: granularity !== undefined && granularity > chunkBytes
      ? granularity * count
      : granularity,
    dmaAlignmentBytes: most(({ dmaAlignmentBytes }) => dmaAlignmentBytes),
  };
}

/** The limits of the part of a disk from `start` on, whose blocks begin elsewhere than its own. */
export function shifted(topology: Topology, start: number, blockSize: number): Topology {
  const { discardGranularityBytes: granularity = 0, discardAlignmentBytes = 0 } = topology;
  // The greatest power of two of which the start is a multiple; no shift, since it may pass 2^31.
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
