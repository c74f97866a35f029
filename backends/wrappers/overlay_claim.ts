/**
 * Opens the file of an overlay for this disk alone.
 *
 * @module
 */

import type { File, Files } from "../../files/port.ts";
import { RealFile, realFiles } from "../../files/real.ts";
import { refusal } from "../../disk/file_checks.ts";
import { openBackingFile } from "../backing_file.ts";

/** An open overlay's file. */
export interface Claimed {
  /** It, with its lock. */
  readonly file: File;
  /** It was not there: who finds it of no use removes it. */
  readonly isNew: boolean;
}

/**
 * Opens a file that is there, or makes it, and takes its lock.
 *
 * @param recovering The server that had it may have died just now.
 * @throws {UblkError} `INVALID_ARGUMENT`, in one line that says what is wrong with the file.
 */
export async function claimOverlay(
  path: string,
  files: Files,
  recovering: boolean,
): Promise<Claimed> {
  if (files === realFiles) {
    // As every file that a disk is made of: with patience, loop devices refused, mistakes named.
    const wish = { readOnly: false, direct: false, blockSize: 1, createBytes: 0 };
    const { fd, isNew } = await openBackingFile(path, { ...wish, patient: recovering });
    return { file: new RealFile(fd, path), isNew };
  }
  const isNew = files.status(path) === undefined;
  const file = files.open(path, { write: true, create: isNew ? "new" : undefined });
  if (file.lock("exclusive")) return { file, isNew };
  file.close();
  throw refusal(path, "it is in use by another disk or program (flock)", "end it, or give a copy");
}
