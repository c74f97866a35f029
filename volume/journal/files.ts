/**
 * The files of a journal: `journal-0000`, `journal-0001`, … Segment n is in file n modulo their
 * number. They are allocated when the journal is made, so that a full disk is noticed then, and are
 * used again and again.
 *
 * @module
 */

import { errnoOfFile } from "../../files/file_error.ts";
import type { File, Files } from "../../files/port.ts";
import { readUpTo } from "../../files/whole.ts";
import { SEGMENT_HEADER_BYTES } from "../format/journal_layout.ts";
import { assert, UblkError } from "../../uapi/error.ts";
import { EINVAL } from "../../uapi/errno.ts";

/** The name of a file in the journal's folder. */
export function segmentName(nth: number): string {
  return `journal-${String(nth).padStart(4, "0")}`;
}

const NAME = /^journal-\d{4}$/;
/** Most files of a journal: they stay open. */
export const MAX_SEGMENTS = 1024;

/** The paths of a journal's files, in order; none if there is no journal. */
export function segmentPaths(files: Files, folder: string): string[] {
  const names = files.list(folder).filter((name) => NAME.test(name));
  names.forEach((name, nth) => {
    if (name === segmentName(nth)) return;
    throw new UblkError("VOLUME_DAMAGED", {
      operation: `journal ${folder}`,
      reason: `${segmentName(nth)} is missing, but ${name} is there`,
      hint: "bring it back, or attach without the journal",
    });
  });
  return names.map((name) => `${folder}/${name}`);
}

/** Removes the files of a journal, or what an interrupted call has left of them. */
export function removeSegments(files: Files, folder: string): void {
  for (const name of files.list(folder)) if (NAME.test(name)) files.remove(`${folder}/${name}`);
  files.syncFolder(folder);
}

/**
 * Makes the files of a journal, or what an interrupted call has left to make. They hold no segment
 * yet.
 *
 * @throws {UblkError} `SYSCALL_FAILED`, ENOSPC among others.
 */
export function makeSegments(files: Files, folder: string, count: number, bytes: number): void {
  assert(count >= 2 && count <= MAX_SEGMENTS, "a journal has some segments");
  for (let nth = 0; nth < count; nth++) {
    using file = files.open(`${folder}/${segmentName(nth)}`, { write: true, create: "if-missing" });
    // Without fallocate, the length at least; a full disk is then noticed only when it is written, as
    // with copy-on-write. The writer makes such writes again.
    if (!file.allocate("extend", 0, bytes)) file.truncate(bytes);
    file.sync(false);
  }
  files.syncFolder(folder);
}

/** Makes the files of a journal durable that another process has made: it may have been killed before. */
export function syncSegments(files: Files, folder: string): void {
  for (const path of segmentPaths(files, folder)) {
    using file = files.open(path, { write: true });
    file.sync(false);
  }
  files.syncFolder(folder);
}

/** Whether the files of a journal are all there, and no segment was ever begun in them. */
export function areBlank(files: Files, folder: string, count: number, bytes: number): boolean {
  const names = files.list(folder).filter((name) => NAME.test(name));
  return names.length === count && names.every((name, nth) => {
    if (name !== segmentName(nth)) return false;
    using file = files.open(`${folder}/${name}`);
    const header = new Uint8Array(SEGMENT_HEADER_BYTES);
    return file.size() === bytes && readUpTo(file, header, 0) === header.length &&
      header.every((byte) => byte === 0);
  });
}

/**
 * Opens a journal's files for reading and writing, past the page cache where that is possible.
 *
 * Headers and batches are whole pages, but blocks are read one by one. A disk with sectors larger than
 * those refuses to: such reads once failed with EINVAL, and passed for damage.
 */
export function openSegments(
  files: Files,
  paths: readonly string[],
  blockSize: number,
): File[] {
  using stack = new DisposableStack();
  const opened: File[] = [];
  const [first] = paths;
  const alignment = first === undefined ? undefined : files.status(first)?.directAlignment;
  let direct = (alignment?.offset ?? 0) <= blockSize;
  for (const path of paths) {
    let file: File | undefined = undefined;
    if (direct) {
      try {
        file = files.open(path, { write: true, direct });
      } catch (error) {
        // Some filesystems, such as tmpfs, know no O_DIRECT.
        if (errnoOfFile(error) !== EINVAL) throw error;
        direct = false;
      }
    }
    file ??= files.open(path, { write: true });
    opened.push(stack.use(file));
  }
  stack.move();
  return opened;
}
