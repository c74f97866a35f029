/**
 * Makes the file of an overlay: all of it, or nothing that the next server would take for one.
 *
 * @module
 */

import { EDQUOT, EFBIG, EINVAL, ENOSPC, EOPNOTSUPP, errnoText } from "../../uapi/errno.ts";
import { UblkError } from "../../uapi/error.ts";
import {
  endOfFile,
  FALLOC_FL_KEEP_SIZE,
  fallocateFile,
  fileStatus,
  O_RDONLY,
  syncFile,
  truncateFile,
  writeAllAt,
} from "../../uring/file.ts";
import { closeFd, openFile } from "../../uring/libc.ts";
import { formatSize } from "../../disk/size.ts";
import {
  bootId,
  check,
  type Header,
  HEADER_BYTES,
  layoutOf,
  writeHeader,
  writeUnfinished,
} from "./overlay_header.ts";
import { refused } from "../../disk/wrapper.ts";

/** Zeroes that are written at a time. */
const ZEROES_BYTES = 1 << 20;

/**
 * Makes the overlay of a disk of `size` bytes in an open file that is empty or was left unfinished.
 * What fails leaves it empty.
 *
 * Its header comes last, once all else is durable. It once came first: where there was no room for
 * the bitmaps, the second try served an overlay that could not note what was written.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` where there is no room for it.
 */
export function makeOverlay(fd: number, path: string, size: number, block: number): Header {
  const { metadataBytes, dataAt } = layoutOf(size, block);
  const header: Header = { ublk: "cow", version: 1, size, block, boot: bootId() };
  try {
    // An unfinished one may be for another disk.
    if (endOfFile(fd) > 0) truncateFile(fd, 0);
    writeUnfinished(fd);
    truncateFile(fd, dataAt + size);
    reserve(fd, metadataBytes);
    check("fdatasync", syncFile(fd));
    writeHeader(fd, header);
    check("fdatasync", syncFile(fd));
    syncFolderOf(path);
    return header;
  } catch (error) {
    emptied(fd);
    throw explained(error, path, metadataBytes, dataAt + size);
  }
}

/** So that noting a block never finds the filesystem full. */
function reserve(fd: number, bytes: number): void {
  const result = fallocateFile(fd, FALLOC_FL_KEEP_SIZE, 0, bytes);
  if (result !== -EOPNOTSUPP) return check("fallocate", result);
  const zeroes = new Uint8Array(Math.min(bytes, ZEROES_BYTES));
  for (let at = HEADER_BYTES; at < bytes; at += zeroes.length) {
    writeAllAt(fd, zeroes.subarray(0, Math.min(zeroes.length, bytes - at)), at);
  }
}

/**
 * Gives an overlay that is resumed the space of its bitmaps, should it not have it: an earlier
 * version left some without, and a copy may be sparser than what it was made of.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` where there is no room for it.
 */
export function checkSpace(fd: number, path: string, { size, block }: Header): void {
  const { metadataBytes } = layoutOf(size, block);
  const result = fallocateFile(fd, FALLOC_FL_KEEP_SIZE, 0, metadataBytes);
  if (result !== -ENOSPC && result !== -EDQUOT) return;
  // Some filesystems refuse what is there already when they are full.
  if ((fileStatus(path)?.allocatedBytes ?? 0) >= metadataBytes) return;
  throw noRoom(path, metadataBytes, -result);
}

function emptied(fd: number): void {
  try {
    truncateFile(fd, 0);
  } catch {
    // Unfinished as it is, it is begun anew all the same.
  }
}

function explained(error: unknown, path: string, bytes: number, length: number): unknown {
  const errno = error instanceof UblkError ? error.errno : undefined;
  if (errno === ENOSPC || errno === EDQUOT) return noRoom(path, bytes, errno);
  if (errno !== EFBIG) return error;
  const reason = `${path} cannot get ${formatSize(length)}: ${errnoText(errno)}`;
  return refused("cow", reason, "use another filesystem", errno);
}

function noRoom(path: string, bytes: number, errno: number): UblkError {
  const reason = `${path} has no room for its bitmaps, which take ${formatSize(bytes)}`;
  return refused("cow", reason, "make room on its filesystem, or use larger blocks (block)", errno);
}

/** Makes it durable that the file is there at all. */
function syncFolderOf(path: string): void {
  const folder = openFile(path.replace(/[^/]+$/, "."), O_RDONLY);
  try {
    const result = syncFile(folder);
    // Some filesystems do not sync folders.
    if (result !== -EINVAL) check("fdatasync", result);
  } finally {
    closeFd(folder);
  }
}
