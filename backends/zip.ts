/**
 * A disk image in a zip archive, or all of an archive as a read-only FAT32 volume.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import type { Backend, ShareContext, Sharing } from "../disk/backend.ts";
import { checkBlockSize, checkPath } from "./loop.ts";
import type { BackendSpec } from "../disk/spec.ts";
import type { Target } from "../disk/target.ts";
import { encodingCalled } from "./zip/encoding.ts";
import type { ArchiveWish } from "./zip/open.ts";

/** Members are inflated once: by one thread, for all queues. */
export const sharing: Sharing = "single";

/** The folder of the inflated members: on a disk, where `/tmp` is often memory. */
const DEFAULT_CACHE_FOLDER = "/var/tmp";

/** Options of {@linkcode zip}. */
export interface ZipOptions {
  /**
   * The path, within the archive, of the disk image to serve. Without it: the image that is in the
   * archive, or where there is none the archive as files.
   */
  readonly member?: string;
  /** Serve the archive as files, also where there is an image in it. */
  readonly files?: boolean;
  /**
   * Check all of an image before it is served. Without it, one above 128 MiB is served at once: a
   * deflated one while it is inflated, a stored one without being checked.
   */
  readonly check?: boolean;
  /**
   * The folder of the file, without a name, that members are inflated to.
   *
   * @default "/var/tmp"
   */
  readonly cache?: string;
  /**
   * The encoding of names that are not marked as UTF-8: `"cp437"`, or a label of `TextDecoder` such as
   * `"shift_jis"` or `"gbk"`. Default: UTF-8 for names that are, and `"cp437"` for others.
   */
  readonly encoding?: string;
  /** Bytes of a logical block: 512 (the default), 1024, 2048 or 4096. */
  readonly blockSize?: number;
  /**
   * Two numbers (as of a `Float64Array`) that are kept up to date while an image is checked before
   * it is served: the bytes done, and of how many.
   */
  readonly progress?: SharedArrayBuffer;
}

/**
 * A disk image that is in a zip archive as a disk, or an archive of files as a FAT32 volume. Both are
 * read-only. An image is padded with zeroes to whole blocks.
 *
 * A stored image is read from the archive, a deflated one is inflated into a file without a name. The
 * files of a volume likewise, as far as they are read. An image up to 128 MiB is checked before it is
 * served, and a file where its end is read; where a greater deflated image proves wrong at its end,
 * reads fail from then on.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` where the options are not possible. When served: where the
 *   archive or the image cannot be had (no zip archive, encrypted, damaged, compressed by a method
 *   other than deflate, …).
 *
 * @example
 * ```ts
 * import { zip } from "@ublk/ublk";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * const spec = zip("release.zip", { member: "images/disk.img" });
 * assertEquals((spec.options as { member: string }).member, "images/disk.img");
 * assertThrows(() => zip("release.zip", { member: "disk.img", files: true }), Error, "drop one");
 * ```
 */
export function zip(path: string, options: ZipOptions = {}): BackendSpec {
  const { member, files = false, check = false, blockSize = 512, progress } = options;
  const { cache = DEFAULT_CACHE_FOLDER } = options;
  const encoding = options.encoding === undefined ? undefined : encodingCalled(options.encoding);
  checkPath(path);
  checkPath(cache);
  checkBlockSize(blockSize);
  if (member === "") throw invalid('"" names nothing in an archive', "name a file in it");
  if (member !== undefined && files) {
    throw invalid("a member and files exclude each other", "drop one");
  }
  if (progress !== undefined && progress.byteLength < 2 * Float64Array.BYTES_PER_ELEMENT) {
    throw invalid("progress is too small", "give 16 bytes");
  }
  const wish: ArchiveWish = { path, member, files, check, cache, encoding, blockSize, progress };
  return { module: import.meta.url, options: wish };
}

function invalid(reason: string, hint: string): UblkError {
  return new UblkError("INVALID_ARGUMENT", { operation: "a zip archive", reason, hint });
}

/** The archive is opened with the disk; that it is no other part of the disk must be known before. */
export function share(options: unknown, { claim }: Pick<ShareContext, "claim">): void {
  // It is only read.
  claim((options as ArchiveWish).path, "shared");
}

/** Opens the archive in the thread that serves it. */
export async function open(options: unknown): Promise<Backend> {
  // Only there: who lists targets, or serves another one, has no use for all that.
  const { openArchive } = await import("./zip/open.ts");
  return await openArchive(options as ArchiveWish);
}

/** The target `zip` on a command line. */
export const target: Target = {
  name: "zip",
  summary: "a disk image in a zip archive, or an archive's files as a FAT32 volume; read-only",
  persistent: true,
  files: { min: 1, max: 1 },
  operand: "member",
  progress: "reading and checking the image",
  options: [
    {
      name: "member",
      kind: "text",
      placeholder: "NAME",
      help: "The image in the archive. Default: the one there is.",
    },
    { name: "files", kind: "switch", help: "All of the archive as files, in a FAT32 volume." },
    { name: "check", kind: "switch", help: "Check an image before it is served, of any size." },
    {
      name: "cache",
      kind: "path",
      placeholder: "FOLDER",
      help: "The folder of the inflated members. Default: /var/tmp.",
    },
    {
      name: "encoding",
      kind: "text",
      placeholder: "NAME",
      help: "The encoding of names that are not UTF-8: shift_jis, gbk, … Default: cp437.",
    },
  ],
  spec: ({ member, files, check, cache, encoding, progress, ...common }, [path]) =>
    zip(path, {
      member: member as string | undefined,
      files: files === true,
      check: check === true,
      cache: cache as string | undefined,
      encoding: encoding as string | undefined,
      blockSize: common["block-size"],
      progress: progress as SharedArrayBuffer | undefined,
    }),
};
