/**
 * Checks what is decided when a volume or its journal is made.
 *
 * @module
 */

import { geometryOf, type Size } from "../disk/geometry.ts";
import { formatSize, parseSize } from "../disk/size.ts";
import { invalidIn, thrownText } from "../uapi/error.ts";
import type { EngineSizes } from "./sizes.ts";
import type { VolumeShape } from "./create.ts";
import { type Compression, COMPRESSIONS } from "./format/compression.ts";
import { batchMemoryBytes } from "./journal/batch_layout.ts";
import { MAX_SEGMENTS } from "./journal/files.ts";

/** Bytes of a block if nobody says otherwise. */
export const DEFAULT_BLOCK_SIZE = 4096;
/** Most bytes of a chunk if nobody says otherwise. */
export const DEFAULT_CHUNK_SIZE = 4 << 20;
/** Bytes of a journal if nobody says otherwise. */
export const DEFAULT_JOURNAL_SIZE: number = 1 << 30;

const LEAST_CHUNK_SIZE = 64 << 10;
const MOST_CHUNK_SIZE = 256 << 20;
const LEAST_SEGMENT_BATCHES = 8;
const MOST_SEGMENT_BYTES = 64 << 20;
const USUAL_SEGMENTS = 16;
const LEAST_SEGMENTS = 2;
const PAGE_BYTES = 4096;

/** The numbers of a volume that is to be made. */
export interface ShapeOptions {
  /** Of the disk. */
  readonly size: Size;
  /** Bytes of a block. */
  readonly blockSize?: number;
  /** Most bytes of a chunk. */
  readonly chunkSize?: Size;
  /** How data is compressed. */
  readonly compress?: Compression;
}

/** Checks the shape of a volume. @throws {UblkError} `INVALID_ARGUMENT` */
export function checkedShape(name: string, options: ShapeOptions): VolumeShape {
  const invalid = invalidIn(`create ${name}`);
  const { blockSize = DEFAULT_BLOCK_SIZE, chunkSize = DEFAULT_CHUNK_SIZE } = options;
  const { compress = "none" } = options;
  if (!COMPRESSIONS.includes(compress)) {
    throw invalid(
      `data cannot be compressed by ${compress}`,
      `give one of: ${COMPRESSIONS.join(", ")}`,
    );
  }
  const compression = compress === "none" ? {} : { compression: compress };
  try {
    const { size } = geometryOf({ size: options.size, blockSize });
    const chunk = bytesOf(chunkSize);
    if (chunk >= LEAST_CHUNK_SIZE && chunk <= MOST_CHUNK_SIZE && chunk % PAGE_BYTES === 0) {
      return { size, blockSize, chunkSize: chunk, ...compression };
    }
  } catch (error) {
    throw invalid(thrownText(error), "give a size such as 10G", { cause: error });
  }
  throw invalid(
    `chunks of ${chunkSize} are not possible`,
    `give a multiple of 4 KiB from ${formatSize(LEAST_CHUNK_SIZE)} to ${
      formatSize(MOST_CHUNK_SIZE)
    }`,
  );
}

/** The files of a journal. */
export interface JournalShape {
  /** Bytes of a segment. */
  readonly segmentSize: number;
  /** Their number. */
  readonly segments: number;
}

/** Divides a journal into segments. @throws {UblkError} `INVALID_ARGUMENT` */
export function journalShape(
  journalSize: Size,
  { batchData }: Pick<EngineSizes, "batchData">,
  blockSize: number,
): JournalShape {
  const invalid = invalidIn("journal");
  let bytes: number;
  try {
    bytes = bytesOf(journalSize);
  } catch (error) {
    throw invalid(thrownText(error), "give a size such as 1G", { cause: error });
  }
  const least = Math.max(
    LEAST_SEGMENT_BATCHES * batchData,
    wholePages(batchMemoryBytes(batchData, blockSize)),
  );
  const usual = Math.floor(bytes / USUAL_SEGMENTS / PAGE_BYTES) * PAGE_BYTES;
  const segmentSize = Math.max(least, Math.min(MOST_SEGMENT_BYTES, usual));
  const segments = Math.floor(bytes / segmentSize);
  if (segments >= LEAST_SEGMENTS && segments <= MAX_SEGMENTS) return { segmentSize, segments };
  throw invalid(
    `a size of ${formatSize(bytes)} is not possible`,
    `give ${formatSize(LEAST_SEGMENTS * least)} to ${
      formatSize(MAX_SEGMENTS * MOST_SEGMENT_BYTES)
    }`,
  );
}

function bytesOf(size: Size): number {
  const bytes = typeof size === "string" ? parseSize(size) : size;
  if (!Number.isSafeInteger(bytes) || bytes <= 0) throw new RangeError(`${size} is no size`);
  return bytes;
}

function wholePages(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
}
