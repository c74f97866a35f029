/**
 * A disk that keeps nothing: it discards writes, and reads return zeroes. It measures the cost of
 * the server itself.
 *
 * @module
 */

import { UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import type { Backend, RequestLimits, RingMethods, Sharing } from "../disk/backend.ts";
import { geometryOf, type GeometryOptions, type Size } from "../disk/geometry.ts";
import type { BackendSpec } from "../disk/spec.ts";
import type { Target } from "../disk/target.ts";
import { ZeroReads } from "./zero_reads.ts";

/** Nothing is shared, so each queue has its own. */
export const sharing: Sharing = "per-queue";

/** Options of {@linkcode nullDisk} beside the size. */
export interface NullOptions extends Omit<GeometryOptions, "size"> {
  /** Requirements on the memory of requests, to test the kernel's handling of them. */
  readonly limits?: RequestLimits;
}

/**
 * A disk of the given size that keeps nothing.
 *
 * @param size Bytes, or a text such as `"250GiB"`.
 * @throws {RangeError} If the size or block size is invalid.
 */
export function nullDisk(size: Size, options: NullOptions = {}): BackendSpec {
  const { limits, ...rest } = options;
  const geometry = geometryOf({ size, ...rest });
  return {
    module: import.meta.url,
    options: limits === undefined ? geometry : { ...geometry, limits },
  };
}

/** Opens the disk. Every backend module exports this function. */
export function open(options: unknown): Backend {
  const zeroes = new ZeroReads();
  const { size, ...geometry } = geometryOf(options as GeometryOptions);
  let bytes = size;
  return {
    ...geometry,
    get size() {
      return bytes;
    },
    limits: (options as NullOptions).limits,
    synchronous: true,
    // No data can be lost.
    persistent: true,
    readAt(buffer) {
      // The buffer still holds the data of the last write through the same tag.
      buffer.fill(0);
    },
    writeAt() {},
    trim() {},
    writeZeroes() {},
    extentAt: (_, length) => ({ length, isHole: true }),
    readMetadata(buffer) {
      // Tags that mean nothing to check.
      buffer.fill(0xff);
    },
    writeMetadata() {},
    resize(size) {
      bytes = size;
    },
    ring: ringMethods(zeroes),
    close: () => zeroes.close(),
  };
}

/** For zero copy: the pages belong to the client, so this process cannot fill them. */
function ringMethods(zeroes: ZeroReads): RingMethods {
  return {
    operations: 1,
    forZeroCopyOnly: true,
    prepare(request, ring) {
      if (request.op === UBLK_IO_OP_READ) return zeroes.start(request, ring);
      return request.op === UBLK_IO_OP_WRITE ? request.length : 0;
    },
    complete: (request, result, ring) => zeroes.continue(request, result, ring),
  };
}

// The default of kublk, whose command line this one follows.
const DEFAULT_SIZE = 250 * 2 ** 30;
const LIMITS: RequestLimits = {
  dmaAlignmentBytes: 4096,
  maxSegments: 32,
  maxSegmentBytes: 32 << 10,
  segmentBoundaryBytes: 4096,
};

/** `null` on a command line. */
export const target: Target = {
  name: "null",
  summary: "a disk that keeps nothing",
  // No data can be lost.
  persistent: true,
  files: { min: 0, max: 0 },
  operand: "size",
  options: [{ name: "size", kind: "size", help: "The disk's size. Default: 250GiB." }],
  spec: ({ size = DEFAULT_SIZE, ...common }) =>
    nullDisk(size as number, {
      blockSize: common["block-size"],
      readOnly: common["read-only"],
      limits: LIMITS,
    }),
};
