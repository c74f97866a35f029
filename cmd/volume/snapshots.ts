/**
 * `ublk-volume snapshot`, `snapshots` and `rollback`.
 *
 * @module
 */

import { formatSize } from "../../disk/size.ts";
import { defaultJournals, defaultStore } from "../../volume/folders.ts";
import { rollbackVolume } from "../../volume/rollback.ts";
import { createSnapshot, listSnapshots } from "../../volume/snapshots.ts";
import type { Values } from "../line/flags.ts";
import type { ROLLBACK_FLAGS, SNAPSHOT_FLAGS, SNAPSHOTS_FLAGS } from "../line/volume_commands.ts";
import { writeJson, writeLines } from "../program/print.ts";
import { EXIT_OK } from "../program/run.ts";
import { type Column, tableLines } from "../watch/rows.ts";
import { inStore } from "./in_store.ts";
import { inVolume } from "./in_volume.ts";

const COLUMNS = [
  { heading: "NAME", width: 0, left: true },
  { heading: "SIZE", width: 0, left: true },
  { heading: "CREATED", width: 0, left: true },
  { heading: "STATE", width: 0, left: true },
] as const satisfies readonly Column[];

/** `ublk-volume snapshot`: with everything that was answered before. */
export async function snapshot(
  { name, snapshot, store = defaultStore(), journal = defaultJournals(), wait }: Values<
    typeof SNAPSHOT_FLAGS
  >,
): Promise<number> {
  return await inStore(store, async () => {
    await createSnapshot(store, name, snapshot, { journal, wait });
    return EXIT_OK;
  });
}

/** `ublk-volume snapshots`: a table, the oldest first. */
export async function snapshots(
  { name, store = defaultStore(), journal = defaultJournals(), noheadings, json }: Values<
    typeof SNAPSHOTS_FLAGS
  >,
): Promise<number> {
  return await inStore(store, async () => {
    const found = await listSnapshots(store, name, { journal });
    if (json) await writeJson(found, 2);
    else {
      const lines = tableLines(
        COLUMNS,
        found.map(({ name, size, created, state }) => [
          name,
          formatSize(size),
          `${created.toISOString().slice(0, 19)}Z`,
          state,
        ]),
      );
      await writeLines(noheadings ? lines.slice(1) : lines);
    }
    return EXIT_OK;
  });
}

/** `ublk-volume rollback`. */
export async function rollback(
  { name, snapshot, store: url = defaultStore(), ...key }: Values<typeof ROLLBACK_FLAGS>,
): Promise<number> {
  return await inVolume(url, name, key, async (store) => {
    await rollbackVolume(store, name, snapshot);
    return EXIT_OK;
  });
}
