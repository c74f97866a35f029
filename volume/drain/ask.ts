/**
 * How another process asks a server's drain to bring everything to the store at once: by a file in the
 * folder of the journal, which the drain looks for while something waits to be drained, and removes. It
 * says nothing. If it is lost, or nobody looks, as in a program that has the volume open by itself, the
 * store has everything a few seconds later all the same.
 *
 * @module
 */

import type { Files } from "../../files/port.ts";
import { isUblkError } from "../../uapi/error.ts";

const NAME = "drain-now";

/** Time between two looks, in milliseconds. */
export const ASKED_MS = 20;

/** Asks the drain of the journal in a folder. */
export function askDrain(files: Files, folder: string): void {
  files.open(`${folder}/${NAME}`, { write: true, create: "if-missing" }).close();
}

/**
 * Whether somebody has asked since the last call. What was answered before that is published: look at
 * that after this.
 */
export function wasAsked(files: Files, folder: string): boolean {
  const path = `${folder}/${NAME}`;
  try {
    if (files.status(path) === undefined) return false;
    files.remove(path);
    return true;
  } catch (error) {
    // Somebody else has removed it, or the disk fails, which is not noticed here.
    if (!isUblkError(error)) throw error;
    return false;
  }
}
