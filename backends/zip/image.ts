/**
 * Serves a disk image in an archive as a disk.
 *
 * @module
 */

import { EROFS } from "../../uapi/errno.ts";
import { UblkError } from "../../uapi/error.ts";
import type { Answer, Backend } from "../../disk/backend.ts";
import { byteMethods } from "../file_bytes.ts";
import { FileRequests } from "../file_requests.ts";
import { StripeLayout } from "../stripe_layout.ts";
import { Window } from "../wrappers/window.ts";
import type { Archive } from "./archive.ts";
import { CHECKED_STORED_BYTES, type Contents, type FileLocation } from "./contents.ts";
import { STORED } from "./members.ts";

/** Images up to this size are checked before they are served: about a second. */
const CHECKED_IMAGE_BYTES = CHECKED_STORED_BYTES;

/** Options of {@linkcode openImage}. */
export interface ImageOptions {
  /** The disk's logical block in bytes. */
  readonly blockSize: number;
  /** Check the whole image before it is served, whatever its size. */
  readonly check: boolean;
  /** Called with the number of bytes checked before the image is served. */
  readonly onProgress?: (bytes: number) => void;
}

/**
 * Opens an image. A checked image is a range of a file, which the serving thread's ring reads. An image
 * too large to wait for is inflated while it is served.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if it is damaged.
 */
export async function openImage(
  { members }: Archive,
  member: number,
  contents: Contents,
  { blockSize, check, onProgress }: ImageOptions,
): Promise<Backend> {
  const bytes = members.bytes[member];
  const size = Math.ceil(bytes / blockSize) * blockSize;
  const isStored = members.method[member] === STORED;
  contents.locate(member);
  if (check || bytes <= CHECKED_IMAGE_BYTES) {
    await contents.check(member, onProgress);
  } else if (!isStored) {
    // Start to inflate all of it. An error is reported by the reads.
    contents.check(member).catch(() => {});
    return contentsImage(contents, member, bytes, size, blockSize);
  }
  // A stored image is followed by the rest of the archive, one in the cache by zeroes.
  return size === bytes || !isStored
    ? fileImage(contents.location(member), size, blockSize)
    : { ...contentsImage(contents, member, bytes, size, blockSize), synchronous: true };
}

/** An image that is a range of a file. */
function fileImage({ fd, start }: FileLocation, size: number, blockSize: number): Backend {
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

/** An image made of a member's contents, padded with zeroes to the end of the last block. */
function contentsImage(
  contents: Contents,
  member: number,
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
      const remaining = bytes - offset;
      if (remaining >= buffer.length) return contents.read(member, buffer, offset);
      buffer.fill(0, remaining);
      return contents.read(member, buffer.subarray(0, remaining), offset);
    },
    writeAt: refuseWrite,
  };
}

function refuseWrite(): never {
  throw refusedWrite();
}

/** The error for a write that arrives although the disk is read-only. */
export function refusedWrite(): UblkError {
  return new UblkError("SYSCALL_FAILED", { operation: "write to an archive", errno: EROFS });
}
