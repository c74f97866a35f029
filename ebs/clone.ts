/**
 * A volume from a snapshot: the one place that knows how its data comes there.
 *
 * @module
 */

import type { Store } from "../store/store.ts";
import { isUblkError } from "../uapi/error.ts";
import { copyVolume } from "../volume/care/copy.ts";
import { stateOf } from "../volume/committed.ts";
import { ObjectNames } from "../volume/names.ts";
import { resizeVolume } from "../volume/resize.ts";
import type { Seam } from "../volume/seam.ts";

/** A snapshot of a volume. */
export interface SnapshotSource {
  /** The volume that it is of. */
  readonly volume: string;
  /** Its name. */
  readonly snapshot: string;
}

/**
 * Makes a volume of a snapshot, of at least its size. Called again after it was interrupted, it goes on.
 *
 * @param bytes The size of the volume.
 * @throws {UblkError}
 */
export async function volumeFromSnapshot(
  store: Store,
  { volume, snapshot }: SnapshotSource,
  id: string,
  bytes: number,
  seam: Seam,
): Promise<void> {
  try {
    await copyVolume(store, `${volume}@${snapshot}`, store, { as: id, seam });
  } catch (error) {
    // An earlier call has come as far as that.
    if (!isUblkError(error) || error.code !== "VOLUME_EXISTS") throw error;
    if (!await isThere(store, id)) throw error;
  }
  const { manifest } = await stateOf(store, new ObjectNames(id));
  if (manifest.size < bytes) await resizeVolume(store, id, bytes, seam);
}

async function isThere(store: Store, id: string): Promise<boolean> {
  return await store.get(new ObjectNames(id).head) !== undefined;
}
