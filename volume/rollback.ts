/**
 * Makes a volume what it was at a snapshot.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { changeCatalog } from "./catalog.ts";
import { briefClaim, Committed } from "./committed.ts";
import { NO_UUID } from "./format/record.ts";
import { MACHINE, type Seam } from "./seam.ts";
import { snapshotIn, stateOfReference } from "./snapshots.ts";
import { type StoreLike, storeOf } from "./store_like.ts";

/**
 * Makes a volume that nobody has attached what it was at a snapshot, its size included. What was
 * written since is gone, unless another snapshot has it. No data is copied.
 *
 * @throws {UblkError} `VOLUME_NOT_FOUND`; `VOLUME_BUSY` if it is attached, or was not detached in
 *   order; `VOLUME_DAMAGED`.
 */
export async function rollbackVolume(
  store: StoreLike,
  name: string,
  snapshot: string,
  seam: Seam = MACHINE,
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const opened = await storeOf(store, stack);
  // Before anything is changed.
  await stateOfReference(opened, { volume: name, snapshot });
  const committed = await Committed.claim(
    opened,
    name,
    briefClaim(seam, "a rollback"),
    ({ journal, host }) => {
      if (journal === NO_UUID) return NO_UUID;
      throw new UblkError("VOLUME_BUSY", {
        operation: `rollback ${name}`,
        reason: `${host || "somebody"} has it attached, or has not detached it`,
        hint: `detach it first: ublk-volume detach ${name}`,
      });
    },
  );
  try {
    const { manifest } = await stateOfReference(opened, { volume: name, snapshot });
    const { size, runs, ancestors } = manifest;
    await committed.commit({ size, runs, ancestors }, 0, async ({ number, volume }) => {
      // Old data counts again. Whoever has looked before what is needed must not delete any more, and
      // whoever looks from now on finds the snapshot, or else this manifest.
      const place = { store: opened, names: committed.names, volume, seam };
      await changeCatalog(place, (catalog) => {
        if (snapshotIn(catalog, snapshot)?.manifest !== manifest.number) {
          throw changed(name, snapshot);
        }
        return { ...catalog, least: Math.max(catalog.least, number) };
      });
    });
  } finally {
    await committed.release();
  }
}

function changed(name: string, snapshot: string): UblkError {
  return new UblkError("VOLUME_BUSY", {
    operation: `rollback ${name}`,
    reason: `the snapshot ${snapshot} was removed or made anew meanwhile`,
    hint: "try again",
  });
}
