/**
 * Tells whether somebody serves a volume on this machine: whoever does holds a lock in the folder of its
 * journal.
 *
 * @module
 */

import type { Files } from "../../files/port.ts";

/** Whether somebody has the journal in a folder in use. */
export function isServed(files: Files, folder: string): boolean {
  using file = files.open(`${folder}/lock`, { write: true, create: "if-missing" });
  return !file.lock("shared");
}
