/**
 * The parameters of a device: conversion of a disk's traits to the kernel's structs, and back.
 *
 * The parameters decide which requests the kernel sends, and what an `fsync` on the disk means.
 * Without `UBLK_ATTR_VOLATILE_CACHE` no FLUSH ever arrives.
 *
 * @module
 */

import { LBMD_PI_CAP_INTEGRITY, LBMD_PI_CAP_REFTAG } from "../uapi/block.ts";
import { BLOCK_SIZES } from "../uapi/block_sizes.ts";
import { assert, invalidIn } from "../uapi/error.ts";
import { type Checksum, CHECKSUMS } from "../uapi/integrity.ts";
import {
  UBLK_ATTR_FUA,
  UBLK_ATTR_READ_ONLY,
  UBLK_ATTR_ROTATIONAL,
  UBLK_ATTR_VOLATILE_CACHE,
  type ublk_param_basic,
  type ublk_param_discard,
  type ublk_param_dma_align,
  type ublk_param_integrity,
  type ublk_param_segment,
  UBLK_PARAM_TYPE_BASIC,
  UBLK_PARAM_TYPE_DEVT,
  UBLK_PARAM_TYPE_DISCARD,
  UBLK_PARAM_TYPE_DMA_ALIGN,
  UBLK_PARAM_TYPE_INTEGRITY,
  UBLK_PARAM_TYPE_SEGMENT,
  UBLK_PARAM_TYPE_ZONED,
  type ublk_param_zoned,
  ublk_params,
} from "../uapi/ublk_params.ts";
import { PAGE_BYTES } from "../uring/mapping.ts";
import { checkZones, zonedParams, type ZonedTraits } from "./zoned_params.ts";

const invalid = invalidIn("SET_PARAMS");

const SECTOR_BYTES = 512;

/** The largest physical block, `io_min` and `io_opt` that the driver accepts, in bytes. */
export const MAX_PHYSICAL_BYTES: number = 2 ** 28;

/** The most metadata per block, in bytes: `struct ublk_param_integrity` has eight bits for it. */
export const MAX_PORTION_BYTES = 255;

for (const { tupleBytes } of Object.values(CHECKSUMS)) {
  assert(tupleBytes <= MAX_PORTION_BYTES, "a tuple fits the metadata that a block can have");
}

/** The largest discard or write-zeroes, in bytes: a bio's size has 32 bits. */
const MAX_RANGE_BYTES = 0xffff_ffff;

/** Limits of the segments of a request's memory. */
export interface SegmentTraits {
  /** The maximum number of segments. */
  readonly maxSegments: number;
  /** The maximum length of a segment in bytes, at least 4096. */
  readonly maxSegmentBytes: number;
  /** A boundary that no segment may cross, in bytes: a power of two, at least 4096. */
  readonly segmentBoundaryBytes: number;
}

/** The properties and capabilities of a disk. */
export interface DiskTraits {
  /** The size in bytes: a positive multiple of the block size. */
  readonly sizeBytes: number;
  /** The largest request, as granted, in bytes: whole pages. */
  readonly maxIoBytes: number;
  /**
   * The logical block in bytes: 512, 1024, 2048 or 4096.
   *
   * @default 512
   */
  readonly blockSize?: number;
  /**
   * The physical block in bytes: the unit that is written without a read-modify-write.
   *
   * @default 4096
   */
  readonly physicalBlockSize?: number;
  /**
   * The smallest efficient request in bytes, a power of two.
   *
   * @default physicalBlockSize
   */
  readonly ioMinBytes?: number;
  /**
   * The optimal request in bytes, a power of two.
   *
   * @default ioMinBytes
   */
  readonly ioOptBytes?: number;
  /** The disk refuses writes. */
  readonly readOnly?: boolean;
  /** The disk rotates. */
  readonly rotational?: boolean;
  /** Writes may be lost until a FLUSH; the disk answers FLUSH. */
  readonly flush?: boolean;
  /** The disk honours FUA. Counts only together with `flush`. */
  readonly fua?: boolean;
  /** The disk answers DISCARD. */
  readonly trim?: boolean;
  /** The disk answers WRITE_ZEROES. */
  readonly writeZeroes?: boolean;
  /**
   * The unit of discard in bytes, a multiple of the block.
   *
   * @default physicalBlockSize
   */
  readonly discardGranularityBytes?: number;
  /**
   * The start of the first unit of discard, in bytes from the start of the disk.
   *
   * @default 0
   */
  readonly discardAlignmentBytes?: number;
  /**
   * The largest DISCARD in bytes. By default the kernel's maximum.
   *
   * @default 4 GiB less a block
   */
  readonly maxTrimBytes?: number;
  /**
   * The largest WRITE_ZEROES in bytes. By default the kernel's maximum.
   *
   * @default 4 GiB less a block
   */
  readonly maxWriteZeroesBytes?: number;
  /**
   * The alignment of a request's memory in bytes. By default the driver's.
   *
   * @default 4
   */
  readonly dmaAlignmentBytes?: number;
  /** Limits of the segments of a request's memory. */
  readonly segments?: SegmentTraits;
  /** Integrity metadata alongside the data. Needs `UBLK_F_INTEGRITY`. */
  readonly integrity?: IntegrityTraits;
  /** The disk's zones. Needs `UBLK_F_ZONED`. */
  readonly zones?: ZonedTraits;
}

/** Integrity metadata of a disk: a fixed number of bytes per block. */
export interface IntegrityTraits {
  /** Bytes of metadata per block, 1 to 255. */
  readonly metadataSize: number;
  /**
   * Offset of the protection information in a block's metadata, in bytes.
   *
   * @default 0
   */
  readonly piOffset?: number;
  /**
   * The checksum of the protection information. With `none` there is no protection information.
   *
   * @default none
   */
  readonly checksum?: Checksum;
  /**
   * Length of the application tag in bytes.
   *
   * @default 0
   */
  readonly tagSize?: number;
  /**
   * The disk can check the protection information.
   *
   * @default false
   */
  readonly capable?: boolean;
  /**
   * The protection information has reference tags.
   *
   * @default false
   */
  readonly refTag?: boolean;
}

/** The parameters of {@linkcode ublkParams}: an argument for `SET_PARAMS`. */
export interface DiskParams {
  /** `sizeof(struct ublk_params)`. */
  readonly len: number;
  /** `UBLK_PARAM_TYPE_*`. */
  readonly types: number;
  /** Size, block sizes and attributes. */
  readonly basic: ublk_param_basic;
  /** Discard and write-zeroes; all zero without either. */
  readonly discard: ublk_param_discard;
  /** Limits of zones. Counts only for a zoned disk. */
  readonly zoned: ublk_param_zoned;
  /** Memory alignment. Counts only if requested. */
  readonly dma: ublk_param_dma_align;
  /** Integrity metadata. Counts only if the disk has it. */
  readonly integrity: ublk_param_integrity;
  /** Limits of segments; all zero without limits. */
  readonly seg: ublk_param_segment;
}

/**
 * Converts a disk's traits to device parameters.
 *
 * @example A disk with a volatile cache
 * ```ts
 * import { ublkParams } from "./params.ts";
 * import { UBLK_ATTR_VOLATILE_CACHE } from "../uapi/ublk_params.ts";
 * import { assertEquals } from "@std/assert";
 *
 * const params = ublkParams({ sizeBytes: 1 << 30, maxIoBytes: 1 << 20, flush: true });
 * assertEquals(params.basic.attrs, UBLK_ATTR_VOLATILE_CACHE);
 * ```
 *
 * @throws {UblkError} `INVALID_ARGUMENT` for a size that the driver refuses.
 */
export function ublkParams(traits: DiskTraits): DiskParams {
  const { sizeBytes, maxIoBytes, blockSize = SECTOR_BYTES } = traits;
  checkTraits(traits);
  const physical = traits.physicalBlockSize ?? Math.max(blockSize, 4096);
  const physicalShift = shift("physical block size", physical, blockSize, MAX_PHYSICAL_BYTES);
  const least = traits.ioMinBytes ?? physical;
  const leastShift = shift("smallest good request size", least, blockSize, MAX_PHYSICAL_BYTES);
  const optimal = traits.ioOptBytes ?? least;
  const optimalShift = shift("best request size", optimal, blockSize, MAX_PHYSICAL_BYTES);
  const basic: ublk_param_basic = {
    attrs: attributes(traits),
    logical_bs_shift: Math.log2(blockSize),
    physical_bs_shift: physicalShift,
    io_min_shift: leastShift,
    io_opt_shift: optimalShift,
    max_sectors: maxIoBytes / SECTOR_BYTES,
    chunk_sectors: (traits.zones?.size ?? 0) / SECTOR_BYTES,
    // A division rather than a shift: beyond 2 TiB the number of sectors exceeds 32 bits.
    dev_sectors: sizeBytes / SECTOR_BYTES,
    virt_boundary_mask: 0n,
  };
  const discard = discardParams(traits, blockSize, physical);
  assert(basic.max_sectors % (blockSize / SECTOR_BYTES) === 0, "requests are whole blocks");
  assert(discard.max_discard_sectors <= 0xffff_ffff >>> 9, "a discard's bytes fit 32 bits");
  const types = UBLK_PARAM_TYPE_BASIC |
    (discard.discard_granularity === 0 ? 0 : UBLK_PARAM_TYPE_DISCARD) |
    (traits.zones === undefined ? 0 : UBLK_PARAM_TYPE_ZONED) |
    (traits.dmaAlignmentBytes === undefined ? 0 : UBLK_PARAM_TYPE_DMA_ALIGN) |
    (traits.segments === undefined ? 0 : UBLK_PARAM_TYPE_SEGMENT) |
    (traits.integrity === undefined ? 0 : UBLK_PARAM_TYPE_INTEGRITY);
  return {
    len: ublk_params.size,
    types,
    basic,
    discard,
    zoned: zonedParams(traits.zones, maxIoBytes),
    dma: { alignment: (traits.dmaAlignmentBytes ?? 1) - 1, pad: new Uint8Array(4) },
    seg: {
      seg_boundary_mask: BigInt((traits.segments?.segmentBoundaryBytes ?? 1) - 1),
      max_segment_size: traits.segments?.maxSegmentBytes ?? 0,
      max_segments: traits.segments?.maxSegments ?? 0,
      pad: new Uint8Array(2),
    },
    integrity: integrityParams(traits.integrity, blockSize),
  };
}

function integrityParams(
  traits: IntegrityTraits | undefined,
  blockSize: number,
): ublk_param_integrity {
  const { checksum = "none", metadataSize = 0, piOffset = 0, tagSize = 0 } = traits ?? {};
  return {
    flags: (traits?.capable ? LBMD_PI_CAP_INTEGRITY : 0) |
      (traits?.refTag ? LBMD_PI_CAP_REFTAG : 0),
    max_integrity_segments: 0,
    // Metadata belongs to one block.
    interval_exp: traits === undefined ? 0 : Math.log2(blockSize),
    metadata_size: metadataSize,
    pi_offset: piOffset,
    csum_type: CHECKSUMS[checksum].type,
    tag_size: tagSize,
    pad: new Uint8Array(5),
  };
}

/**
 * Checks integrity metadata as `ublk_validate_params` does, but with a clear error.
 *
 * @throws {UblkError} `INVALID_ARGUMENT`.
 */
export function checkIntegrity(traits: IntegrityTraits): void {
  const { metadataSize, piOffset = 0, tagSize = 0, checksum = "none" } = traits;
  checkByte("metadata size", metadataSize, 1);
  checkByte("offset of the protection information", piOffset, 0);
  checkByte("size of the application tag", tagSize, 0);
  if (!Object.hasOwn(CHECKSUMS, checksum)) {
    throw invalid(
      `checksum ${JSON.stringify(checksum)} is not known`,
      `use ${Object.keys(CHECKSUMS).join(", ")}`,
    );
  }
  const { tupleBytes } = CHECKSUMS[checksum];
  if (piOffset + tupleBytes > metadataSize) {
    throw invalid(
      `${tupleBytes} bytes of protection information at offset ${piOffset} do not fit in ` +
        `${metadataSize} bytes of metadata`,
      `use at least ${piOffset + tupleBytes} bytes, or another offset`,
    );
  }
  if (traits.refTag && checksum === "none") {
    throw invalid("a reference tag needs protection information", "choose a checksum");
  }
}

function checkByte(what: string, value: number, min: number): void {
  if (Number.isInteger(value) && value >= min && value <= MAX_PORTION_BYTES) return;
  throw invalid(`${what} ${value} is out of range`, `use ${min} to ${MAX_PORTION_BYTES} bytes`);
}

function attributes(traits: DiskTraits): number {
  let attrs = 0;
  if (traits.readOnly) attrs |= UBLK_ATTR_READ_ONLY;
  if (traits.rotational) attrs |= UBLK_ATTR_ROTATIONAL;
  if (traits.flush) attrs |= UBLK_ATTR_VOLATILE_CACHE;
  // The driver drops FUA without a volatile cache, because every write is durable then.
  if (traits.flush && traits.fua) attrs |= UBLK_ATTR_FUA;
  return attrs;
}

function discardParams(
  traits: DiskTraits,
  blockSize: number,
  physical: number,
): ublk_param_discard {
  const trim = traits.trim === true && !traits.readOnly;
  const writeZeroes = traits.writeZeroes === true && !traits.readOnly;
  const { maxTrimBytes = MAX_RANGE_BYTES, maxWriteZeroesBytes = MAX_RANGE_BYTES } = traits;
  const granularity = traits.discardGranularityBytes ?? physical;
  return {
    discard_alignment: trim ? traits.discardAlignmentBytes ?? 0 : 0,
    // Also set for write-zeroes alone, because the driver refuses a zero in this struct.
    discard_granularity: trim || writeZeroes ? granularity : 0,
    max_discard_sectors: trim ? wholeBlocks(maxTrimBytes, blockSize) : 0,
    max_write_zeroes_sectors: writeZeroes ? wholeBlocks(maxWriteZeroesBytes, blockSize) : 0,
    // The driver accepts at most one.
    max_discard_segments: trim || writeZeroes ? 1 : 0,
    reserved0: 0,
  };
}

/** Returns the sectors of the whole blocks that fit, so that no split falls inside a block. */
function wholeBlocks(bytes: number, blockSize: number): number {
  const clamped = Math.min(bytes, MAX_RANGE_BYTES);
  return Math.floor(clamped / blockSize) * (blockSize / SECTOR_BYTES);
}

function shift(what: string, bytes: number, min: number, max: number): number {
  const log = Math.log2(bytes);
  if (Number.isInteger(log) && bytes >= min && bytes <= max) return log;
  throw invalid(`${what} ${bytes} is out of range`, `use a power of two from ${min} to ${max}`);
}

function checkTraits(traits: DiskTraits): void {
  const { sizeBytes, maxIoBytes, blockSize = SECTOR_BYTES } = traits;
  if (!BLOCK_SIZES.includes(blockSize)) {
    throw invalid(`block size ${blockSize} is not possible`, `use ${BLOCK_SIZES.join(", ")}`);
  }
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes % blockSize !== 0) {
    throw invalid(
      `size ${sizeBytes} is not possible`,
      `use a positive multiple of the block size (${blockSize}) up to 2^53 - 1`,
    );
  }
  if (!Number.isInteger(maxIoBytes) || maxIoBytes < PAGE_BYTES || maxIoBytes % PAGE_BYTES !== 0) {
    throw invalid(`maximum I/O ${maxIoBytes} is not possible`, `use a multiple of ${PAGE_BYTES}`);
  }
  checkMultiple("discard granularity", traits.discardGranularityBytes, blockSize);
  checkMultiple("largest discard", traits.maxTrimBytes, blockSize);
  checkMultiple("largest write-zeroes", traits.maxWriteZeroesBytes, blockSize);
  if (traits.dmaAlignmentBytes !== undefined) {
    shift("alignment of memory", traits.dmaAlignmentBytes, 1, PAGE_BYTES);
  }
  if (traits.segments !== undefined) checkSegments(traits.segments);
  if (traits.integrity !== undefined) checkIntegrity(traits.integrity);
  if (traits.zones !== undefined) checkZones(traits.zones, sizeBytes);
}

function checkSegments(
  { maxSegments, maxSegmentBytes, segmentBoundaryBytes }: SegmentTraits,
): void {
  shift("boundary of segments", segmentBoundaryBytes, PAGE_BYTES, 2 ** 52);
  // The driver's own checks, in `ublk_validate_params`.
  if (!Number.isInteger(maxSegments) || maxSegments < 1 || maxSegments > 0xffff) {
    throw invalid(`${maxSegments} segments are not possible`, "use 1 to 65535");
  }
  if (!Number.isInteger(maxSegmentBytes) || maxSegmentBytes < PAGE_BYTES) {
    throw invalid(`segments of ${maxSegmentBytes} bytes are not possible`, "use 4096 or more");
  }
}

function checkMultiple(what: string, bytes: number | undefined, blockSize: number): void {
  if (bytes === undefined) return;
  if (Number.isInteger(bytes) && bytes > 0 && bytes <= MAX_RANGE_BYTES && bytes % blockSize === 0) {
    return;
  }
  throw invalid(
    `${what} ${bytes} is not possible`,
    `use a positive multiple of the block size (${blockSize}) below 4 GiB`,
  );
}

/** A device's parameters in human units. */
export interface DiskDescription {
  /** The size in bytes. */
  readonly sizeBytes: number;
  /** The logical block, in bytes. */
  readonly blockSize: number;
  /** The physical block, in bytes. */
  readonly physicalBlockSize: number;
  /** The smallest efficient request, in bytes. */
  readonly ioMinBytes: number;
  /** The optimal request, in bytes. */
  readonly ioOptBytes: number;
  /** The largest request, in bytes. */
  readonly maxIoBytes: number;
  /** The disk refuses writes. */
  readonly readOnly: boolean;
  /** The disk rotates. */
  readonly rotational: boolean;
  /** The disk has a volatile cache and answers FLUSH. */
  readonly flush: boolean;
  /** The disk honours FUA. */
  readonly fua: boolean;
  /** The largest DISCARD, in bytes; 0 for none. */
  readonly maxTrimBytes: number;
  /** The largest WRITE_ZEROES, in bytes; 0 for none. */
  readonly maxWriteZeroesBytes: number;
  /** The unit of discard, in bytes; 0 for none. */
  readonly discardGranularityBytes: number;
  /** The size of a zone in bytes; 0 without zones. */
  readonly zoneBytes: number;
  /** Integrity metadata of each block, in bytes; 0 for none. */
  readonly metadataSize: number;
  /** `major:minor` of `/dev/ublkcN`, or "" if the driver did not report it. */
  readonly charDevice: string;
  /** `major:minor` of `/dev/ublkbN`, or "" if the device is not started. */
  readonly blockDevice: string;
}

/** Decodes the result of `GET_PARAMS`. Undefined if no parameters have been set yet. */
export function describeParams(params: ublk_params): DiskDescription | undefined {
  const { types, basic, discard, devt } = params;
  if ((types & UBLK_PARAM_TYPE_BASIC) === 0) return undefined;
  const discards = (types & UBLK_PARAM_TYPE_DISCARD) !== 0;
  const has = (attr: number) => (basic.attrs & attr) !== 0;
  const numbers = (types & UBLK_PARAM_TYPE_DEVT) !== 0;
  return {
    sizeBytes: basic.dev_sectors * SECTOR_BYTES,
    blockSize: 2 ** basic.logical_bs_shift,
    physicalBlockSize: 2 ** basic.physical_bs_shift,
    ioMinBytes: 2 ** basic.io_min_shift,
    ioOptBytes: 2 ** basic.io_opt_shift,
    maxIoBytes: basic.max_sectors * SECTOR_BYTES,
    readOnly: has(UBLK_ATTR_READ_ONLY),
    rotational: has(UBLK_ATTR_ROTATIONAL),
    flush: has(UBLK_ATTR_VOLATILE_CACHE),
    // Counts only together with a volatile cache, whatever the server claimed.
    fua: has(UBLK_ATTR_FUA) && has(UBLK_ATTR_VOLATILE_CACHE),
    maxTrimBytes: discards ? discard.max_discard_sectors * SECTOR_BYTES : 0,
    maxWriteZeroesBytes: discards ? discard.max_write_zeroes_sectors * SECTOR_BYTES : 0,
    discardGranularityBytes: discards ? discard.discard_granularity : 0,
    zoneBytes: (types & UBLK_PARAM_TYPE_ZONED) === 0 ? 0 : basic.chunk_sectors * SECTOR_BYTES,
    metadataSize: (types & UBLK_PARAM_TYPE_INTEGRITY) === 0 ? 0 : params.integrity.metadata_size,
    charDevice: numbers ? `${devt.char_major}:${devt.char_minor}` : "",
    // Major 0 is never used: the disk does not exist yet.
    blockDevice: numbers && devt.disk_major !== 0 ? `${devt.disk_major}:${devt.disk_minor}` : "",
  };
}
