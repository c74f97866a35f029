/**
 * A volume from a snapshot: the one place that knows how its data comes there.
 *
 * @module
 */

import type { Store } from "../store/store.ts";
import { isUblkError } from "../uapi/error.ts";
import { cloneVolume } from "../volume/clone.ts";
import { stateOf } from "../volume/state.ts";
import { ObjectNames } from "../volume/names.ts";
import type { VolumeKeyFile } from "../volume/seal/key_source.ts";
import type { Seam } from "../volume/seam.ts";

/** A snapshot of a volume. */
export interface SnapshotSource {
  /** The volume that it is of. */
  readonly volume: string;
  /** Its name. */
  readonly snapshot: string;
}

/**
 * Makes a volume of a snapshot. They share the data that they have in common, and either may go first.
 * Called again after it was interrupted, it begins anew, or finds it done.
 *
 * @param bytes The size of the volume: no less than the snapshot's.
 * @param key Of a source that is encrypted, which the volume is too; undefined for others.
 * @throws {UblkError}
 */
export async function volumeFromSnapshot(
  store: Store,
  { volume, snapshot }: SnapshotSource,
  id: string,
  bytes: number,
  key: VolumeKeyFile | undefined,
  seam: Seam,
): Promise<void> {
  try {
    await cloneVolume(store, `${volume}@${snapshot}`, id, { size: bytes, key, seam });
  } catch (error) {
    // An earlier call has come as far as that, and its answer was lost.
    if (!isUblkError(error) || error.code !== "VOLUME_EXISTS") throw error;
    const { manifest } = await stateOf(store, new ObjectNames(id));
    if (manifest.size !== bytes) throw error;
  }
}
