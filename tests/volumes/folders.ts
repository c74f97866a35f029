/**
 * Volumes in temporary folders, for tests of the library.
 *
 * @module
 */

import { openAllOfLibc } from "../../uring/libc.ts";
import { makeMemoryFolder } from "../scratch.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

/** Where a volume of a test lives. */
export interface VolumeFolders {
  /** All of it. */
  readonly folder: string;
  /** The store. */
  readonly store: string;
  /** The folder of journals. */
  readonly journal: string;
  /** The smallest journal. */
  readonly journalSize: string;
}

/**
 * Runs a test in a folder that is removed.
 *
 * @param options `onDisk` puts it on a disk; otherwise it is in memory, where there is room
 *   (`tests/scratch.ts` says which tests need a disk).
 */
export async function inFolder(
  run: (at: VolumeFolders) => Promise<void>,
  { onDisk = false }: { readonly onDisk?: boolean } = {},
): Promise<void> {
  const prefix = "ublk-volume-";
  const folder = onDisk ? await Deno.makeTempDir({ prefix }) : makeMemoryFolder(prefix);
  try {
    const [store, journal] = [`${folder}/store`, `${folder}/journal`];
    await run({ folder, store, journal, journalSize: "16M" });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
