/**
 * A disk in a file of the port for files, by its synchronous methods.
 *
 * @module
 */

import type { Backend } from "../../disk/backend.ts";
import { type Files, folderOf } from "../../files/port.ts";
import { readWhole, writeWhole, writeZeroes } from "../../files/whole.ts";
import { EIO } from "../../uapi/errno.ts";
import { UblkError } from "../../uapi/error.ts";

/** What such a disk is like. */
export interface PortFileManner {
  /** It has FUA: a write, and then a sync. */
  readonly fua: boolean;
  /**
   * A sync that follows one that failed succeeds, as the kernel's does, and what that has lost is
   * lost. Without it no later one does.
   */
  readonly forgets: boolean;
}

/** Makes the file, durably. */
export function makePortFile(files: Files, path: string, bytes: Uint8Array<ArrayBuffer>): void {
  using file = files.open(path, { write: true, create: "new" });
  writeWhole(file, bytes, 0);
  file.sync(true);
  files.syncFolder(folderOf(path));
}

/** The disk in a file. */
export function portFileDisk(
  files: Files,
  path: string,
  { fua, forgets }: PortFileManner,
): Backend {
  const file = files.open(path, { write: true });
  let isBroken = false;
  const flush = () => {
    if (isBroken && !forgets) {
      const reason = "an earlier sync has failed";
      throw new UblkError("SYSCALL_FAILED", { operation: "fdatasync", reason, errno: EIO });
    }
    try {
      file.sync(true);
    } catch (error) {
      isBroken = true;
      throw error;
    }
  };
  return {
    size: file.size(),
    synchronous: true,
    persistent: true,
    fua,
    readAt: (buffer, offset) => readWhole(file, buffer, offset),
    writeAt(buffer, offset, how) {
      writeWhole(file, buffer, offset);
      if (fua && how.fua) flush();
    },
    flush,
    trim: (offset, length) => void file.allocate("punch", offset, length),
    writeZeroes(offset, length, { mayUnmap }) {
      if (file.allocate(mayUnmap ? "punch" : "zero", offset, length)) return;
      writeZeroes(file, offset, length);
    },
    close: () => file.close(),
  };
}
