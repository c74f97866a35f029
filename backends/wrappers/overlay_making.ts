/**
 * Makes the file of an overlay: all of it, or nothing that the next server would take for one.
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
 * What fails leaves it empty.
 *
 * Its header comes last, once all else is durable. It once came first: where there was no room for
 * the bitmaps, the second try served an overlay that could not note what was written.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` where there is no room for it.
 */
export function makeOverlay(files: Files, file: File, size: number, block: number): Header {
  const { path } = file;
  const { metadataBytes, dataAt } = layoutOf(size, block);
  const header: Header = { ublk: "cow", version: 1, size, block, boot: bootOf(files) };
  try {
    // An unfinished one may be for another disk.
    if (file.size() > 0) file.truncate(0);
    writeUnfinished(file);
    // Before the length: a loss of power once left that alone, a long file that says nothing.
    file.sync(true);
    // Before the header: a server that was killed after that once left a name that no later one
    // made durable, and which went with the power, and all that had been flushed.
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

/** So that noting a block never finds the filesystem full. */
function reserve(file: File, bytes: number): void {
  if (!file.allocate("reserve", 0, bytes)) writeZeroes(file, HEADER_BYTES, bytes - HEADER_BYTES);
}

/**
 * Gives an overlay that is resumed the space of its bitmaps, should it not have it: an earlier
 * version left some without, and a copy may be sparser than what it was made of.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` where there is no room for it.
 */
export function checkSpace(files: Files, file: File, { size, block }: Header): void {
  const { metadataBytes } = layoutOf(size, block);
  try {
    file.allocate("reserve", 0, metadataBytes);
  } catch (error) {
    const errno = errnoOfFile(error);
    if (errno === undefined) throw error;
    if (errno !== ENOSPC && errno !== EDQUOT) return;
    // Some filesystems refuse what is there already when they are full.
    if ((files.status(file.path)?.allocatedBytes ?? 0) >= metadataBytes) return;
    throw noRoom(file.path, metadataBytes, errno);
  }
}

function emptied(file: File): void {
  try {
    file.truncate(0);
  } catch {
    // Unfinished as it is, it is begun anew all the same.
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
