/**
 * Serves a disk image in a zip archive, or a whole archive as a read-only FAT32 volume.
 *
 * @module
 */

import { invalidIn } from "../uapi/error.ts";
import type { Backend, ShareContext, Sharing } from "../disk/backend.ts";
import { checkBlockSize, checkPath } from "../disk/file_checks.ts";
import type { BackendSpec } from "../disk/spec.ts";
import type { Target } from "../disk/target.ts";
import { parseEncoding } from "./zip/encoding.ts";
import type { ArchiveOptions } from "./zip/open.ts";

const invalid = invalidIn("a zip archive");

/** One thread inflates members for all queues, so that each is inflated once. */
export const sharing: Sharing = "single";

/** The folder for inflated members. On a disk, whereas `/tmp` is often in memory. */
const DEFAULT_CACHE_FOLDER = "/var/tmp";

/** Options of {@linkcode zip}. */
export interface ZipOptions {
  /**
   * The path of the disk image within the archive.
   *
   * @default The only image in the archive; if there is none, the archive is served as files.
   */
  readonly member?: string;
  /**
   * Serve the archive as files, even if it contains an image.
   *
   * @default false
   */
  readonly files?: boolean;
  /**
   * Check an image of any size completely before it is served. Otherwise an image above 128 MiB is
   * served at once: a deflated one while it is inflated, a stored one without a check.
   *
   * @default false
   */
  readonly check?: boolean;
  /**
   * The folder for the unnamed file that members are inflated to.
   *
   * @default "/var/tmp"
   */
  readonly cache?: string;
  /**
   * The encoding of names that are not marked as UTF-8: `"cp437"`, or a label of `TextDecoder` such as
   * `"shift_jis"` or `"gbk"`.
   *
   * @default UTF-8 for names that are valid UTF-8, `"cp437"` for others
   */
  readonly encoding?: string;
  /**
   * Size of a logical block in bytes: 512, 1024, 2048 or 4096.
   *
   * @default 512
   */
  readonly blockSize?: number;
  /**
   * Memory of a `Float64Array` of two numbers: the bytes checked, and the bytes in all. Both are
   * updated while an image is checked before it is served.
   *
   * @default None: progress is not reported
   */
  readonly progress?: SharedArrayBuffer;
}

/**
 * A backend that serves a disk image in a zip archive, or an archive of files as a FAT32 volume. Both
 * are read-only. An image is padded with zeroes to whole blocks.
 *
 * A stored image is read from the archive; a deflated one is inflated to an unnamed file. The same
 * holds for the files of a volume, but only as far as they are read. An image up to 128 MiB is checked
 * before it is served, and a file of a volume when its end is read. If the end of a larger deflated
 * image proves damaged, reads fail from then on.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` for impossible options. When served: also if the archive or
 *   the image cannot be read (not a zip archive, encrypted, damaged, compressed by a method other than
 *   deflate, …).
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
  const encoding = options.encoding === undefined ? undefined : parseEncoding(options.encoding);
  checkPath(path, invalid);
  checkPath(cache, invalid);
  checkBlockSize(blockSize, invalid);
  if (member === "") throw invalid("the member's name is empty", "name a file in the archive");
  if (member !== undefined && files) {
    throw invalid("a member and files exclude each other", "drop one");
  }
  if (progress !== undefined && progress.byteLength < 2 * Float64Array.BYTES_PER_ELEMENT) {
    throw invalid("progress is too small", "give 16 bytes");
  }
  const archiveOptions: ArchiveOptions = {
    path,
    member,
    files,
    check,
    cache,
    encoding,
    blockSize,
    progress,
  };
  return { module: import.meta.url, options: archiveOptions };
}

/** Claims the archive before the disk is opened, so that no other part of the disk uses it. */
export function share(options: unknown, { claim }: Pick<ShareContext, "claim">): void {
  // Others may share it, because it is only read.
  claim((options as ArchiveOptions).path, "shared");
}

/** Opens the archive in the thread that serves it. */
export async function open(options: unknown): Promise<Backend> {
  // Imported here because listing targets, or serving another one, does not need it.
  const { openArchive } = await import("./zip/open.ts");
  return await openArchive(options as ArchiveOptions);
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
      help: "The image in the archive. Default: the only one.",
    },
    { name: "files", kind: "switch", help: "Serve the whole archive as files, in a FAT32 volume." },
    { name: "check", kind: "switch", help: "Check an image of any size before it is served." },
    {
      name: "cache",
      kind: "path",
      placeholder: "FOLDER",
      help: "The folder for inflated members. Default: /var/tmp.",
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
