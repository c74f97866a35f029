/**
 * `ublk-volume sync`.
 *
 * @module
 */

import { defaultJournals, defaultStore } from "../../volume/folders.ts";
import { waitForStore } from "../../volume/wait_for_store.ts";
import type { Values } from "../line/flags.ts";
import type { SYNC_FLAGS } from "../line/volume_commands.ts";
import { EXIT_OK } from "../program/run.ts";
import { inStore } from "./in_store.ts";

/** `ublk-volume sync`: returns when the store has every write that was answered before. */
export async function sync(
  { name, store = defaultStore(), journal = defaultJournals() }: Values<typeof SYNC_FLAGS>,
): Promise<number> {
  return await inStore(store, async () => {
    await waitForStore(store, name, { journal });
    return EXIT_OK;
  });
}
