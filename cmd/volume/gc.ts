/**
 * `ublk-volume gc`.
 *
 * @module
 */

import { formatSize } from "../../disk/size.ts";
import { defaultJournals, defaultStore } from "../../volume/folders.ts";
import { collectVolume } from "../../volume/space/collect_volume.ts";
import type { Values } from "../line/flags.ts";
import type { GC_FLAGS } from "../line/volume_commands.ts";
import { writeJson, writeLine } from "../program/print.ts";
import { EXIT_OK } from "../program/run.ts";
import { inVolume } from "./in_volume.ts";
import { shownParts } from "./shown_progress.ts";

/** `ublk-volume gc`: deletes what nothing needs any more, and tells how much that was. */
export async function gc(
  {
    name,
    store: url = defaultStore(),
    journal = defaultJournals(),
    bandwidth,
    quiet,
    json,
    ...key
  }: Values<typeof GC_FLAGS>,
): Promise<number> {
  return await inVolume(url, name, key, async (store) => {
    const onProgress = shownParts(quiet, (total) => `${total} objects deleted`);
    const options = { journal, bandwidth, onProgress };
    const { bytes, objects } = await collectVolume(store, name, options);
    if (json) await writeJson({ name, bytes, objects }, 2);
    else await writeLine(`${formatSize(bytes)} freed`);
    return EXIT_OK;
  });
}
