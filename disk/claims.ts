/**
 * The files that one disk is made of. No file may have two uses in a disk unless both agree.
 * Without this check, a stripe over the same file twice overwrote each half with the other, and a
 * `stats` table emptied the image that it was about.
 *
 * Locks (`backing_file.ts`) protect disks from each other. They do not help here: two members of
 * one disk may share a lock, and text files have none.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { overlap, placesOf } from "./file_places.ts";

/** The use that a part of a disk makes of a file. */
export type FileUse =
  /** It holds bytes of this part alone. */
  | "data"
  /** It holds bytes, and other parts may use it as `"shared"` too, for example to read it. */
  | "shared"
  /** It receives lines of text about the disk. */
  | "text";

/**
 * Claims a file or block device for a part of a disk; it need not exist yet. Several parts may
 * claim the same file if all of them use it as `"shared"`, or all as `"text"`.
 *
 * @param use Default: `"data"`.
 * @throws {UblkError} `INVALID_ARGUMENT` if the disk already uses it or a part of it, even under
 *   another name: a link, a partition or a loop device.
 */
export type Claim = (path: string, use?: FileUse) => void;

/** Makes the record of one disk's claims. */
export function claims(): Claim {
  const claimed: { readonly path: string; readonly use: FileUse }[] = [];
  return (path, use = "data") => {
    const places = placesOf(path);
    for (const earlier of claimed) {
      if (use !== "data" && use === earlier.use) continue;
      // Look it up again each time: it may have been created since.
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
