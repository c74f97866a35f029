/**
 * Makes the file of an overlay: either all of it, or nothing that the next server mistakes for one.
 *
 * @module
 */

import { errnoOfFile } from "../../files/file_error.ts";
import { type File, type Files, folderOf } from "../../files/port.ts";
import { writeZeroes } from "../../files/whole.ts";
import { EDQUOT, EFBIG, ENOSPC, errnoText } from "../../uapi/errno.ts";
import type { UblkError } from "../../uapi/error.ts";
import { formatSize } from "../../disk/size.ts";
import {
  bootOf,
  type Header,
  HEADER_BYTES,
  layoutOf,
  writeHeader,
  writeUnfinished,
} from "./overlay_header.ts";
import { refused } from "../../disk/wrapper.ts";

/**
 * Makes the overlay of a disk of `size` bytes in an open file that is empty or was left unfinished.
 * A failure leaves it empty.
 *
 * The header comes last, once everything else is durable. It once came first: if there was no room
 * for the bitmaps, the second try served an overlay that could not mark written blocks.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if there is no room for it.
 */
export function makeOverlay(files: Files, file: File, size: number, block: number): Header {
  const { path } = file;
  const { metadataBytes, dataAt } = layoutOf(size, block);
  const header: Header = { ublk: "cow", version: 1, size, block, boot: bootOf(files) };
  try {
    // An unfinished overlay may belong to another disk.
    if (file.size() > 0) file.truncate(0);
    writeUnfinished(file);
    // Sync before the length changes: a loss of power once left a long file without any contents.
    file.sync(true);
    // Sync the name before the header is written. Once a server was killed after the header, no later
    // server made the name durable, and a loss of power took the file with all flushed data.
    files.syncFolder(folderOf(path));
    file.truncate(dataAt + size);
    reserve(file, metadataBytes);
    file.sync(true);
    writeHeader(file, header);
    file.sync(true);
    return header;
  } catch (error) {
    emptied(file);
    throw explained(error, path, metadataBytes, dataAt + size);
  }
}

/** Reserves space for the bitmaps, so that marking a block never finds the filesystem full. */
function reserve(file: File, bytes: number): void {
  if (!file.allocate("reserve", 0, bytes)) writeZeroes(file, HEADER_BYTES, bytes - HEADER_BYTES);
}

/**
 * Allocates the space of a resumed overlay's bitmaps if it is missing: an earlier version left some
 * overlays without it, and a copy may be sparser than its original.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if there is no room for it.
 */
export function checkSpace(files: Files, file: File, { size, block }: Header): void {
  const { metadataBytes } = layoutOf(size, block);
  try {
    file.allocate("reserve", 0, metadataBytes);
  } catch (error) {
    const errno = errnoOfFile(error);
    if (errno === undefined) throw error;
    if (errno !== ENOSPC && errno !== EDQUOT) return;
    // When full, some filesystems refuse even space that is allocated already.
    if ((files.status(file.path)?.allocatedBytes ?? 0) >= metadataBytes) return;
    throw noRoom(file.path, metadataBytes, errno);
  }
}

function emptied(file: File): void {
  try {
    file.truncate(0);
  } catch {
    // It stays unfinished, so the next server begins it anew all the same.
  }
}

function explained(error: unknown, path: string, bytes: number, length: number): unknown {
  const errno = errnoOfFile(error);
  if (errno === ENOSPC || errno === EDQUOT) return noRoom(path, bytes, errno);
  if (errno !== EFBIG) return error;
  const reason = `${path} cannot get ${formatSize(length)}: ${errnoText(errno)}`;
  return refused("cow", reason, "use another filesystem", errno);
}

function noRoom(path: string, bytes: number, errno: number): UblkError {
  const reason = `${path} has no room for its bitmaps, which take ${formatSize(bytes)}`;
  return refused("cow", reason, "make room on its filesystem, or use larger blocks (block)", errno);
}
