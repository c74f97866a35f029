/**
 * Opens the file of an overlay for exclusive use by this disk.
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";
import type { File, Files } from "../../files/port.ts";
import { RealFile, realFiles } from "../../files/real.ts";
import { refusal } from "../../disk/file_checks.ts";
import { openBackingFile } from "../backing_file.ts";

/** The file of an open overlay. */
export interface Claimed {
  /** The file, which is locked. */
  readonly file: File;
  /** Whether it was created here. A caller that cannot use it removes it. */
  readonly isNew: boolean;
}

/**
 * Opens an existing file or creates it, and locks it.
 *
 * @param recovering Wait longer for the lock: the server that held it may have just died.
 * @throws {UblkError} `INVALID_ARGUMENT`, with one line about the problem with the file.
 */
export async function claimOverlay(
  path: string,
  files: Files,
  recovering: boolean,
): Promise<Claimed> {
  if (files === realFiles) {
    // Like every file behind a disk: retry the lock, refuse loop devices, name mistakes.
    const wish = { readOnly: false, direct: false, blockSize: 1, createBytes: 0 };
    const { fd, isNew } = await openBackingFile(path, { ...wish, patient: recovering });
    const file = new RealFile(fd, path);
    // The lock is ours already. The file must know of it to unlock before it closes: a child that
    // another thread is starting has a copy of the descriptor, which would keep the lock.
    assert(file.lock("exclusive"), "the lock of an overlay is ours");
    return { file, isNew };
  }
  const isNew = files.status(path) === undefined;
  const file = files.open(path, { write: true, create: isNew ? "new" : undefined });
  if (file.lock("exclusive")) return { file, isNew };
  file.close();
  throw refusal(path, "it is in use by another disk or program (flock)", "end it, or give a copy");
}
