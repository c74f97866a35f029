/**
 * A disk image in an archive as a disk.
 *
 * @module
 */

import { EROFS } from "../../uapi/errno.ts";
import { UblkError } from "../../uapi/error.ts";
import type { Answer, Backend } from "../backend.ts";
import { byteMethods } from "../file_bytes.ts";
import { FileRequests } from "../file_requests.ts";
import { StripeLayout } from "../stripe_layout.ts";
import { Window } from "../wrappers/window.ts";
import { type Archive, type Member, STORED } from "./archive.ts";
import type { CacheFile } from "./cache_file.ts";
import { CHECKED_FIRST_BYTES, type Contents, contentsOf, type Place } from "./contents.ts";

/** How an image is to be served. */
export interface ImageWish {
  /** The disk's logical block in bytes. */
  readonly blockSize: number;
  /** All of it is checked before it is served, whatever its size. */
  readonly check: boolean;
  /** Called with the bytes that have been gone through before it is served. */
  readonly onProgress?: (bytes: number) => void;
}

/**
 * Opens an image. Checked, it is a part of a file, which the serving thread's ring reads; one that is
 * too large for that to be waited for is inflated while it is served.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` where it is damaged.
 */
export async function openImage(
  archive: Archive,
  member: Member,
  cache: () => CacheFile,
  { blockSize, check, onProgress }: ImageWish,
): Promise<Backend> {
  const contents = contentsOf(archive, member, cache);
  const size = Math.ceil(member.bytes / blockSize) * blockSize;
  try {
    await contents.locate();
    if (check || member.bytes <= CHECKED_FIRST_BYTES) {
      contents.onProgress = onProgress;
      await contents.check();
    } else if (member.method !== STORED) {
      contents.begin();
      return contentsImage(contents, member.bytes, size, blockSize);
    }
  } catch (error) {
    await contents.close();
    throw error;
  }
  // What is behind an image in the archive is no part of it; in the cache there are zeroes.
  return size === member.bytes || member.method !== STORED
    ? fileImage(contents.place(), size, blockSize)
    : { ...contentsImage(contents, member.bytes, size, blockSize), synchronous: true };
}

/** A part of a file. */
function fileImage({ fd, start }: Place, size: number, blockSize: number): Backend {
  const layout = new StripeLayout(1, blockSize);
  const files = { fds: [fd], layout, direct: false, punches: false };
  const { synchronous, readAt } = byteMethods(files);
  const ring = new FileRequests(files);
  const whole = {
    size: start + size,
    blockSize,
    readOnly: true,
    persistent: true,
    synchronous,
    readAt,
  };
  const file: Backend = { ...whole, writeAt: refuseWrite, ring };
  return start === 0 ? file : new Window(file, start, size);
}

/** By its contents, as far as they are there, and zeroes up to the end of the last block. */
function contentsImage(
  contents: Contents,
  bytes: number,
  size: number,
  blockSize: number,
): Backend {
  return {
    size,
    blockSize,
    readOnly: true,
    persistent: true,
    readAt(buffer: Uint8Array<ArrayBuffer>, offset: number): Answer {
      const left = bytes - offset;
      if (left >= buffer.length) return contents.read(buffer, offset);
      buffer.fill(0, left);
      return contents.read(buffer.subarray(0, left), offset);
    },
    writeAt: refuseWrite,
    close: () => contents.close(),
  };
}

function refuseWrite(): never {
  throw refusedWrite();
}

/** The error of a write to what is read-only, should one come in spite of that. */
export function refusedWrite(): UblkError {
  return new UblkError("SYSCALL_FAILED", { operation: "write to an archive", errno: EROFS });
}
