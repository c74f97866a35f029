/**
 * `ublk-volume rm`.
 *
 * @module
 */

import { defaultJournals, defaultStore } from "../../volume/folders.ts";
import { removeVolume } from "../../volume/list.ts";
import { referenceOf } from "../../volume/names.ts";
import { removeSnapshot } from "../../volume/snapshots.ts";
import { waitForSnapshot } from "../../volume/wait_for_snapshot.ts";
import type { Values } from "../line/flags.ts";
import type { RM_FLAGS } from "../line/volume_commands.ts";
import { EXIT_OK } from "../program/run.ts";
import { inVolume } from "./in_volume.ts";

/** `ublk-volume rm`: the volume with all its data, its journal and its cache here; or a snapshot. */
export async function remove(
  { name, store: url = defaultStore(), journal = defaultJournals(), force, ...values }: Values<
    typeof RM_FLAGS
  >,
): Promise<number> {
  // Only what its clones need cannot be told without the key.
  return await inVolume(url, name, { ...values, isOptional: true }, async (store) => {
    const { volume, snapshot } = referenceOf(name);
    const cacheDir = values["cache-dir"];
    if (snapshot === undefined) await removeVolume(store, volume, { force, journal, cacheDir });
    else {
      await waitForSnapshot(store, name, { journal });
      await removeSnapshot(store, volume, snapshot);
    }
    return EXIT_OK;
  });
}
