/**
 * `ublk-volume clone` and `flatten`.
 *
 * @module
 */

import { formatSize } from "../../disk/size.ts";
import { cloneVolume } from "../../volume/clone.ts";
import { flattenVolume } from "../../volume/flatten.ts";
import { defaultJournals, defaultStore } from "../../volume/folders.ts";
import type { Values } from "../line/flags.ts";
import type { CLONE_FLAGS, FLATTEN_FLAGS } from "../line/volume_commands.ts";
import { writeLine, writeLines } from "../program/print.ts";
import { EXIT_OK } from "../program/run.ts";
import { inStore } from "./in_store.ts";
import { inVolume, keyFileOf } from "./in_volume.ts";
import { tellIfInterrupted } from "./interrupted.ts";
import { shownBytes } from "./shown_progress.ts";

/** `ublk-volume clone`: with everything that was answered before. */
export async function clone(
  { name, clone, size, store = defaultStore(), journal = defaultJournals(), ...values }: Values<
    typeof CLONE_FLAGS
  >,
): Promise<number> {
  const key = keyFileOf(values);
  return await inStore(store, async () => {
    await cloneVolume(store, name, clone, { size, journal, key });
    return EXIT_OK;
  });
}

/** `ublk-volume flatten`: tells what it has copied, and what still shares data. */
export async function flatten(
  { name, store: url = defaultStore(), quiet, ...key }: Values<typeof FLATTEN_FLAGS>,
): Promise<number> {
  return await inVolume(url, name, key, async (store) => {
    const onProgress = shownBytes(quiet);
    using _told = tellIfInterrupted("what was copied stays; the same command goes on");
    const { copiedBytes, sharing } = await flattenVolume(store, name, { onProgress });
    await writeLine(`${formatSize(copiedBytes)} copied`);
    await writeLines(sharing.map((other) => `${other} still shares data with its ancestors`));
    return EXIT_OK;
  });
}
