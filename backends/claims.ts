/**
 * The files that one disk is made of: none may be two things in it. Without that a stripe over one
 * file twice wrote each half over the other, and a table of `stats` emptied the image it was about.
 *
 * Between disks there are locks (`backing_file.ts`). They do not serve here: two members of a disk
 * may share a lock, and files of text have none.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { overlap, placesOf } from "./file_places.ts";

/** The use of a file: it keeps bytes of the disk, or it gets lines of text about it. */
export type FileUse = "data" | "text";

/**
 * Notes that a disk is to use a file or block device, whether it is there yet or not. Lines of text
 * may go to one file from several sides; nothing else may.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` where the disk uses it already: under another name (by a
 *   link, or as a partition or loop device), or a part of it.
 */
export type Claim = (path: string, use?: FileUse) => void;

/** What the parts of one disk claim, in their order. */
export function claims(): Claim {
  const claimed: { readonly path: string; readonly use: FileUse }[] = [];
  return (path, use = "data") => {
    const places = placesOf(path);
    for (const earlier of claimed) {
      if (use === "text" && earlier.use === "text") continue;
      // Looked up again each time: it may have been made since.
      if (!overlap(places, placesOf(earlier.path))) continue;
      const as = earlier.path === path ? "" : `, as ${earlier.path}`;
      throw new UblkError("INVALID_ARGUMENT", {
        operation: path,
        reason: `this disk uses it already${as}`,
        hint: "give each file or device once",
      });
    }
    claimed.push({ path, use });
  };
}
