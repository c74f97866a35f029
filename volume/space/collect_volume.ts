/**
 * Collects the garbage of a volume on request.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { Committed } from "../committed.ts";
import { NO_UUID } from "../format/record.ts";
import { ObjectNames } from "../names.ts";
import { MACHINE, type Seam } from "../seam.ts";
import { type StoreLike, storeOf } from "../store_like.ts";
import { collectGarbage, type Freed } from "./collect.ts";

/** Options of {@linkcode collectVolume}. */
export interface CollectVolumeOptions {
  /**
   * Time and randomness, for tests.
   *
   * @default The machine's
   */
  readonly seam?: Seam;
}

/**
 * Deletes everything that a volume, its snapshots and its readers do not need. Whoever has it attached
 * does that by himself.
 *
 * @returns What was freed.
 * @throws {UblkError} `VOLUME_NOT_FOUND`; `VOLUME_BUSY` if it is attached, or was not detached in
 *   order; `VOLUME_DAMAGED` if an object is missing or damaged that says what is needed.
 */
export async function collectVolume(
  store: StoreLike,
  name: string,
  { seam = MACHINE }: CollectVolumeOptions = {},
): Promise<Freed> {
  await using stack = new AsyncDisposableStack();
  const opened = await storeOf(store, stack);
  const committed = await Committed.claim(
    opened,
    name,
    seam,
    "a collection",
    ({ journal, host }) => {
      if (journal === NO_UUID) return NO_UUID;
      throw new UblkError("VOLUME_BUSY", {
        operation: `collect the garbage of ${name}`,
        reason: `${host || "somebody"} has it attached, or has not detached it`,
        hint: "its server gives space back by itself",
      });
    },
  );
  try {
    const parts = { store: opened, names: new ObjectNames(name), seam };
    const freed = await collectGarbage({ ...parts, base: committed.head });
    if (freed !== undefined) return freed;
    // A rollback was interrupted, and the catalog is ahead of the head.
    await committed.commit({});
    return (await collectGarbage({ ...parts, base: committed.head }))!;
  } finally {
    await committed.release();
  }
}
