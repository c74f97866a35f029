/**
 * A disk in a file or block device, through the serving thread's own ring: the kernel moves the
 * data, and JavaScript only says from where to where.
 *
 * Holes in the file stay holes: blocks that were never written, or were discarded, take no space. A
 * second file may hold integrity metadata.
 *
 * @module
 */

import { invalidIn } from "../uapi/error.ts";
import {
  closeLocked,
  endOfFile,
  nextHole,
  removeFile,
  syncFile,
  truncateFile,
} from "../uring/file.ts";
import { syscallError } from "../uring/libc.ts";
import type { Backend, OpenContext, ShareContext, Sharing } from "../disk/backend.ts";
import { type BackingFile, openBackingFile } from "./backing_file.ts";
import { eachOf } from "../disk/each_of.ts";
import { byteMethods } from "./file_bytes.ts";
import { LostWrites } from "./lost_writes.ts";
import { checkBlockSize, checkPath, refusal } from "../disk/file_checks.ts";
import { fileExtent } from "./file_extents.ts";
import { FileRequests } from "./file_requests.ts";
import type { Size } from "../disk/geometry.ts";
import { formatSize, parseSize } from "../disk/size.ts";
import type { BackendSpec } from "../disk/spec.ts";
import { StripeLayout } from "./stripe_layout.ts";
import type { Target } from "../disk/target.ts";
import { writeUnchecked } from "./unchecked.ts";

const invalid = invalidIn("a disk in a file");

/** The threads share the file through the kernel. */
export const sharing: Sharing = "per-queue";

const DEFAULT_BLOCK_BYTES = 512;

/** Options of {@linkcode file}. */
export interface FileOptions {
  /**
   * Create the file, or extend it to {@linkcode size}. It is never made shorter. When a device is
   * recovered the file must exist, and is left unchanged.
   *
   * @default false
   */
  readonly create?: boolean;
  /** The size of the file to create: bytes, or a text such as `"1GiB"`. Needs {@linkcode create}. */
  readonly size?: Size;
  /**
   * Size of a logical block in bytes: 512, 1024, 2048 or 4096.
   *
   * @default The block size of a block device. With `direct`, the smallest that the filesystem accepts.
   *   Otherwise, and with metadata, 512.
   */
  readonly blockSize?: number;
  /**
   * Make the disk read-only, and open the file for reading only.
   *
   * @default false
   */
  readonly readOnly?: boolean;
  /**
   * Bypass the page cache (`O_DIRECT`). The file's filesystem or device must support the block size.
   * Zero copy is then the best data path, and is used if the kernel supports it.
   *
   * @default false
   */
  readonly direct?: boolean;
  /**
   * Let other disks, or other parts of this one, write the file too, if they set this option as well.
   * If two of them write the same place at the same time, the result is undefined. Without this
   * option a file has one writer.
   *
   * @default false
   */
  readonly shared?: boolean;
  /** A second file, for integrity metadata. Needs {@linkcode metadataSize}. */
  readonly metadataPath?: string;
  /**
   * Bytes of integrity metadata per block, up to 255; 0: none.
   *
   * @default 0
   */
  readonly metadataSize?: number;
}

interface StoredOptions {
  readonly path: string;
  readonly blockSize?: number;
  readonly readOnly: boolean;
  readonly direct: boolean;
  readonly shared: boolean;
  readonly createBytes?: number;
  readonly metadataPath?: string;
  readonly metadataSize: number;
}

/**
 * A disk in a file, or in a block device. Its size is the file's, in whole blocks.
 *
 * The file is opened and locked (`flock`; a device with `O_EXCL`) when the disk is served. The disk
 * offers only what the file supports. There is no discard if the filesystem cannot punch holes or
 * the device cannot write zeroes by itself. Over a write-protected device the disk is read-only.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if the options are wrong or contradict each other. When
 *   served: if the file cannot be used (missing, a directory, in use, not aligned, …).
 *
 * @example A sparse disk in a file that is created if it is missing
 * ```ts
 * import { file } from "@ublk/ublk";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * const spec = file("disk.img", { create: true, size: "10GiB" });
 * assertEquals((spec.options as { createBytes: number }).createBytes, 10 * 2 ** 30);
 * assertThrows(() => file("disk.img", { size: "10GiB" }), Error, "create");
 * ```
 */
export function file(path: string, options: FileOptions = {}): BackendSpec {
  const { blockSize, readOnly = false, direct = false, create = false } = options;
  const { shared = false } = options;
  const { metadataPath, metadataSize = 0 } = options;
  checkPath(path, invalid);
  if (blockSize !== undefined) checkBlockSize(blockSize, invalid);
  const unit = blockSize ?? DEFAULT_BLOCK_BYTES;
  const size = typeof options.size === "string" ? parseSize(options.size) : options.size;
  if (create !== (size !== undefined)) {
    const reason = create ? "create needs a size" : "a size is for create: a file has its own";
    throw invalid(reason, "give both or neither");
  }
  if (create && readOnly) throw invalid("create and readOnly exclude each other", "drop one");
  if (size !== undefined && !(Number.isSafeInteger(size) && size > 0 && size % unit === 0)) {
    throw invalid(`size ${size} is not possible`, `use a positive multiple of ${unit} bytes`);
  }
  if (!Number.isInteger(metadataSize) || metadataSize < 0 || metadataSize > 255) {
    throw invalid(`metadataSize ${metadataSize} is out of range`, "use 1 to 255 bytes per block");
  }
  if ((metadataPath !== undefined) !== (metadataSize > 0)) {
    throw invalid("integrity metadata needs a second file and a size per block", "give both");
  }
  if (metadataPath !== undefined) checkPath(metadataPath, invalid);
  const stored = { path, blockSize, readOnly, direct, shared, createBytes: size, metadataPath };
  return { module: import.meta.url, options: { ...stored, metadataSize } satisfies StoredOptions };
}

/** State that the threads share: descriptors belong to the process. */
interface Shared {
  readonly data: BackingFile;
  readonly metadata?: BackingFile;
  readonly size: number;
  /** The options ask for it, or either file is write-protected. */
  readonly readOnly: boolean;
  /** Memory of {@linkcode LostWrites}. */
  readonly lost: SharedArrayBuffer;
}

/** Opens and claims the files, once for all queues. */
export async function share(
  options: unknown,
  { claim, ...device }: ShareContext,
): Promise<Shared> {
  const stored = options as StoredOptions;
  const { path, metadataPath, metadataSize } = stored;
  claim(path, stored.readOnly || stored.shared ? "shared" : "data");
  // Not shared, so that it is never the disk's own file.
  if (metadataPath !== undefined) claim(metadataPath);
  const wish = { ...stored, ...device };
  const data = await openBackingFile(path, { ...wish, blockSize: unitOf(wish) });
  const { blockSize, readOnly } = data;
  const blocks = Math.floor(data.bytes / blockSize);
  const lost = LostWrites.memory();
  if (metadataPath === undefined) return { data, size: blocks * blockSize, readOnly, lost };
  let metadata: BackingFile | undefined;
  try {
    metadata = await openMetadata(metadataPath, { ...stored, readOnly }, blocks, device.recovering);
    // The disk ends where either file does.
    const covered = Math.min(blocks, Math.floor(metadata.bytes / metadataSize));
    if (covered === 0) throw refusal(metadataPath, "it has no room for a block", "make it longer");
    if (!metadata.readOnly) fillHoles(metadata.fd, 0, covered * metadataSize, lost);
    return { data, metadata, size: covered * blockSize, readOnly: metadata.readOnly, lost };
  } catch (error) {
    // The disk failed to open: remove the files that were created for it.
    for (const made of [data, metadata]) if (made?.isNew) removeFile(made.path);
    unshare({ data, metadata });
    throw error;
  }
}

/**
 * The block size to ask for; undefined leaves it to the file below. The number of a block says where
 * its metadata is. So with metadata the size must not depend on the disk below or on other options.
 */
function unitOf(
  { blockSize, deviceBlockSize, metadataPath }:
    & Pick<StoredOptions, "blockSize" | "metadataPath">
    & Pick<ShareContext, "deviceBlockSize">,
): number | undefined {
  if (metadataPath === undefined) return blockSize;
  return blockSize ?? deviceBlockSize ?? DEFAULT_BLOCK_BYTES;
}

/** Metadata goes through the page cache: its portions are smaller than any block. */
function openMetadata(
  path: string,
  stored: StoredOptions,
  blocks: number,
  recovering: boolean,
): Promise<BackingFile> {
  const { readOnly, createBytes, metadataSize } = stored;
  return openBackingFile(path, {
    readOnly,
    direct: false,
    blockSize: 1,
    createBytes: createBytes === undefined ? undefined : blocks * metadataSize,
    recovering,
  });
}

/**
 * Fills holes in the metadata file, which were never written, with metadata that means nothing to
 * check. Metadata of an earlier use stays, because its data stays too. The result is synced: after a
 * loss of power, space without its contents may no longer be a hole.
 */
function fillHoles(fd: number, from: number, end: number, lost: SharedArrayBuffer): void {
  let hole = nextHole(fd, from, end);
  if (hole === undefined) return;
  for (; hole !== undefined; hole = nextHole(fd, hole.end, end)) {
    writeUnchecked(fd, hole.start, hole.end);
  }
  const result = syncFile(fd);
  // Metadata of requests may be lost too.
  new LostWrites(lost).note(result);
  if (result < 0) throw syscallError("fdatasync", undefined, -result);
}

/** Closes the files. */
export function unshare(shared: unknown): void {
  const { data, metadata } = shared as Shared;
  eachOf([data, metadata].map((file) => () => file && closeLocked(file.fd)));
}

/** Opens the disk in one queue's thread. */
export function open(options: unknown, context: OpenContext): Backend {
  const { direct, metadataSize } = options as StoredOptions;
  const { data, metadata, size, readOnly, lost } = context.shared as Shared;
  const { blockSize, topology } = data;
  const layout = new StripeLayout(1, blockSize);
  const portions = metadata && { fd: metadata.fd, bytesPerBlock: metadataSize, blockSize };
  const files = metadata === undefined ? [data] : [data, metadata];
  const ends = (size: number) => [size, size / blockSize * metadataSize];
  let current = size;
  /** The size and the files' lengths before the disk last grew. */
  let before: { readonly size: number; readonly lengths: readonly number[] } | undefined;
  return {
    get size() {
      return current;
    },
    blockSize,
    readOnly,
    topology,
    // For wrappers that need the bytes. Without a wrapper the ring serves the disk.
    ...byteMethods({ fds: [data.fd], layout, direct, punches: data.punches, lost }),
    // A device has no holes to tell of.
    ...(data.isDevice
      ? {}
      : { extentAt: (offset, length) => fileExtent(data.fd, blockSize, offset, length) }),
    fua: true,
    persistent: true,
    ring: new FileRequests({ fds: [data.fd], layout, direct, metadata: portions, lost }),
    resize(size: number) {
      checkMultiple(size, blockSize);
      // This may undo the last growth, perhaps because the disk could not grow in the end, and
      // perhaps half way through it. A file that was longer than the disk then keeps its former
      // length. (A bug once cut it to the disk's size.)
      const kept = before?.size === size ? before.lengths : undefined;
      const shrinks = size < current || kept !== undefined;
      before = size > current
        ? { size: current, lengths: files.map(({ fd }) => endOfFile(fd)) }
        : undefined;
      for (const [index, file] of files.entries()) {
        const bytes = ends(size)[index];
        const most = shrinks ? Math.max(bytes, kept?.[index] ?? 0) : Infinity;
        resizeFile(file, bytes, most, readOnly);
      }
      if (metadata !== undefined && !readOnly) {
        fillHoles(metadata.fd, ends(current)[1], ends(size)[1], lost);
      }
      current = size;
    },
  };
}

function checkMultiple(size: number, blockSize: number): void {
  if (Number.isSafeInteger(size) && size > 0 && size % blockSize === 0) return;
  throw invalid(`size ${size} is not possible`, `use a positive multiple of ${blockSize} bytes`);
}

/**
 * Makes a file's length at least `bytes` and at most `most`. Several threads may call this in turn:
 * the second call changes nothing.
 */
function resizeFile(
  { path, fd, isDevice }: BackingFile,
  bytes: number,
  most: number,
  readOnly: boolean,
): void {
  const now = endOfFile(fd);
  if (now >= bytes) {
    // Another program may have made the file longer so that the disk can grow into it.
    if (now > most && !isDevice && !readOnly) truncateFile(fd, most);
    return;
  }
  if (isDevice) {
    throw refusal(path, `it has ${formatSize(now)}, not ${formatSize(bytes)}`, "ask for less");
  }
  if (readOnly) throw refusal(path, "it is served read-only", "make the file longer first");
  truncateFile(fd, bytes);
}

/** `loop` on a command line. */
export const target: Target = {
  name: "loop",
  aliases: ["file"],
  summary: "a disk in a file or block device; with --metadata-size, a second file for the metadata",
  persistent: true,
  files: { min: 1, max: 2 },
  options: [
    { name: "direct", kind: "switch", help: "Bypass the page cache (O_DIRECT)." },
    { name: "create", kind: "switch", help: "Make the file, sparse, to have --size." },
    {
      name: "shared",
      kind: "switch",
      help: "Share the file with other disks that have --shared too.",
    },
    { name: "size", kind: "size", help: "The size of the new file. With --create." },
  ],
  spec: ({ size, create, direct, shared, ...common }, [path, metadataPath]) =>
    file(path, {
      size: size as number | undefined,
      create: create === true,
      direct: direct === true,
      shared: shared === true,
      blockSize: common["block-size"],
      readOnly: common["read-only"],
      metadataPath,
      metadataSize: common["metadata-size"],
    }),
};
