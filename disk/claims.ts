/**
 * The files that one disk is made of: none may be two things in it, unless both agree to that. Without that a stripe over one
 * file twice wrote each half over the other, and a table of `stats` emptied the image it was about.
 *
 * Between disks there are locks (`backing_file.ts`). They do not serve here: two members of a disk
 * may share a lock, and files of text have none.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { overlap, placesOf } from "./file_places.ts";

/** The use of a file by a part of a disk. */
export type FileUse =
  /** It keeps bytes for this part alone. */
  | "data"
  /** It keeps bytes, and other parts may have it that say so too: they only read it, for example. */
  | "shared"
  /** It gets lines of text about the disk. */
  | "text";

/**
 * Notes that a disk is to use a file or block device, whether it is there yet or not. Several parts
 * of the disk may have one file if it is `"shared"` by all of them, or if all put `"text"` into it.
 *
 * @param use By default `"data"`.
 * @throws {UblkError} `INVALID_ARGUMENT` where the disk uses it already: under another name (by a
 *   link, or as a partition or loop device), or a part of it.
 */
export type Claim = (path: string, use?: FileUse) => void;

/** The claims of one disk's parts, in their order. */
export function claims(): Claim {
  const claimed: { readonly path: string; readonly use: FileUse }[] = [];
  return (path, use = "data") => {
    const places = placesOf(path);
    for (const earlier of claimed) {
      if (use !== "data" && use === earlier.use) continue;
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
