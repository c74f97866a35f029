/**
 * A disk striped over several files (RAID-0), through the serving thread's own ring.
 *
 * @module
 */

import { invalidIn } from "../uapi/error.ts";
import { closeLocked } from "../uring/file.ts";
import type { Backend, OpenContext, ShareContext, Sharing } from "../disk/backend.ts";
import { type BackingFile, openBackingFile } from "./backing_file.ts";
import { eachOf } from "../disk/each_of.ts";
import { byteMethods } from "./file_bytes.ts";
import { fitted, striped } from "../disk/device_limits.ts";
import { FileRequests } from "./file_requests.ts";
import { LostWrites } from "./lost_writes.ts";
import { checkBlockSize, checkPath, refusal } from "../disk/file_checks.ts";
import { formatSize } from "../disk/size.ts";
import type { BackendSpec } from "../disk/spec.ts";
import { StripeLayout } from "./stripe_layout.ts";
import type { Target } from "../disk/target.ts";

const invalid = invalidIn("a striped disk");

/** The threads share the files through the kernel. */
export const sharing: Sharing = "per-queue";

/** The smallest chunk in bytes. */
export const MIN_CHUNK_BYTES = 4096;
/** The largest chunk in bytes. */
export const MAX_CHUNK_BYTES: number = 512 << 10;
/** The maximum number of files. */
export const MAX_STRIPE_FILES = 32;
const DEFAULT_CHUNK_BYTES = 64 << 10;

/** Options of {@linkcode stripe}. */
export interface StripeOptions {
  /**
   * Size of a chunk in bytes: a power of two from 4096 to 524288.
   *
   * @default 65536
   */
  readonly chunkSize?: number;
  /**
   * Size of a logical block in bytes: 512, 1024, 2048 or 4096.
   *
   * @default The largest that one of the files needs, as for `file`
   */
  readonly blockSize?: number;
  /**
   * Make the disk read-only, and open the files for reading only.
   *
   * @default false
   */
  readonly readOnly?: boolean;
  /**
   * Bypass the page cache (`O_DIRECT`), with zero copy if the kernel supports it.
   *
   * @default false
   */
  readonly direct?: boolean;
  /**
   * Let other disks write the files too, if they set this option as well. If two of them write the
   * same place at the same time, the result is undefined. Without this option a file has one writer.
   *
   * @default false
   */
  readonly shared?: boolean;
}

interface StoredOptions {
  readonly paths: readonly string[];
  readonly chunkSize: number;
  readonly blockSize?: number;
  readonly readOnly: boolean;
  readonly direct: boolean;
  readonly shared: boolean;
}

/**
 * A disk whose chunks go to the files in turn: chunk `i` is chunk `i / n` of file `i % n`. The files
 * must have the same size, in whole chunks. The size of the disk is the sum of theirs.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if the options are not possible. When served: if a file
 *   cannot be used, or its size differs from the first one's.
 *
 * @example
 * ```ts
 * import { stripe } from "@ublk/ublk";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * const spec = stripe(["left.img", "right.img"], { chunkSize: 4096 });
 * assertEquals((spec.options as { chunkSize: number }).chunkSize, 4096);
 * assertThrows(() => stripe(["left.img"], { chunkSize: 5000 }), Error, "power of two");
 * ```
 */
export function stripe(paths: readonly string[], options: StripeOptions = {}): BackendSpec {
  const { chunkSize = DEFAULT_CHUNK_BYTES, blockSize } = options;
  const { readOnly = false, direct = false, shared = false } = options;
  if (paths.length < 1 || paths.length > MAX_STRIPE_FILES) {
    throw invalid(`${paths.length} files are not possible`, `give 1 to ${MAX_STRIPE_FILES}`);
  }
  for (const path of paths) checkPath(path, invalid);
  if (blockSize !== undefined) checkBlockSize(blockSize, invalid);
  const isPower = Number.isInteger(Math.log2(chunkSize));
  if (!isPower || chunkSize < MIN_CHUNK_BYTES || chunkSize > MAX_CHUNK_BYTES) {
    const hint = `use a power of two from ${MIN_CHUNK_BYTES} to ${MAX_CHUNK_BYTES} bytes`;
    throw invalid(`a chunk of ${chunkSize} is not possible`, hint);
  }
  const stored = { paths: [...paths], chunkSize, blockSize, readOnly, direct, shared };
  return { module: import.meta.url, options: stored satisfies StoredOptions };
}

/** State that the threads share: descriptors belong to the process. */
interface Shared {
  readonly files: readonly BackingFile[];
  readonly size: number;
  /** Memory of {@linkcode LostWrites}. */
  readonly lost: SharedArrayBuffer;
}

/** Opens and claims the files, once for all queues. */
export async function share(
  options: unknown,
  { claim, ...device }: ShareContext,
): Promise<Shared> {
  const stored = options as StoredOptions;
  for (const path of stored.paths) claim(path);
  const files: BackingFile[] = [];
  try {
    for (const path of stored.paths) {
      files.push(await openBackingFile(path, { ...stored, ...device }));
    }
    const each = wholeChunks(files[0], stored.chunkSize);
    for (const file of files) {
      const bytes = wholeChunks(file, stored.chunkSize);
      if (bytes === each) continue;
      const reason = `its ${formatSize(bytes)} are not the ${formatSize(each)} of ${files[0].path}`;
      const isFixed = file.isDevice || files[0].isDevice;
      const hint = isFixed
        ? "give partitions of the same size"
        : "make them the same size (truncate -s)";
      throw refusal(file.path, reason, hint);
    }
    return { files, size: each * files.length, lost: LostWrites.memory() };
  } catch (error) {
    unshare({ files });
    throw error;
  }
}

function wholeChunks({ path, bytes, isDevice }: BackingFile, chunkSize: number): number {
  if (bytes >= chunkSize) return Math.floor(bytes / chunkSize) * chunkSize;
  const reason = `its ${bytes} bytes are less than a chunk of ${chunkSize}`;
  const hint = isDevice
    ? "use smaller chunks"
    : "make it longer (truncate -s), or use smaller chunks";
  throw refusal(path, reason, hint);
}

/** Closes the files. */
export function unshare(shared: unknown): void {
  const { files } = shared as Pick<Shared, "files">;
  eachOf(files.map(({ fd }) => () => closeLocked(fd)));
}

/** Opens the disk in one queue's thread. */
export function open(options: unknown, context: OpenContext): Backend {
  const { chunkSize, direct } = options as StoredOptions;
  const { files, size, lost } = context.shared as Shared;
  const layout = new StripeLayout(files.length, chunkSize);
  const fds = files.map(({ fd }) => fd);
  // The largest of all block sizes: the others divide it.
  const blockSize = Math.max(...files.map((file) => file.blockSize));
  const topologies = files.map(({ topology }) => topology);
  return {
    size,
    blockSize,
    readOnly: files.some(({ readOnly }) => readOnly),
    topology: fitted(striped(topologies, chunkSize), blockSize),
    // For wrappers that need the bytes. Without a wrapper the ring serves the disk.
    ...byteMethods({ fds, layout, direct, punches: files.every(({ punches }) => punches), lost }),
    fua: true,
    persistent: true,
    ring: new FileRequests({ fds, layout, direct, lost }),
  };
}

/** `stripe` on a command line. */
export const target: Target = {
  name: "stripe",
  summary: "a disk striped over files of the same size (RAID-0)",
  persistent: true,
  files: { min: 1, max: MAX_STRIPE_FILES },
  options: [
    {
      name: "chunk-size",
      kind: "size",
      min: MIN_CHUNK_BYTES,
      max: MAX_CHUNK_BYTES,
      help: "Bytes per file before the next file follows, a power of two. Default: 64K.",
    },
    {
      name: "shared",
      kind: "switch",
      help: "Share the files with other disks that have --shared too.",
    },
    { name: "direct", kind: "switch", help: "Bypass the page cache (O_DIRECT)." },
  ],
  spec: (values, paths) =>
    stripe(paths, {
      chunkSize: values["chunk-size"] as number | undefined,
      direct: values.direct === true,
      shared: values.shared === true,
      blockSize: values["block-size"],
      readOnly: values["read-only"],
    }),
};
