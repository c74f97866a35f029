/**
 * `ublk-volume scrub`.
 *
 * @module
 */

import { formatSize } from "../../disk/size.ts";
import { openStore } from "../../store/open.ts";
import { PacedStore } from "../../volume/care/paced_store.ts";
import { checkVolume } from "../../volume/check.ts";
import { defaultStore } from "../../volume/folders.ts";
import type { Values } from "../line/flags.ts";
import type { SCRUB_FLAGS } from "../line/volume_commands.ts";
import { writeJson, writeLines } from "../program/print.ts";
import { EXIT_FAILURE, EXIT_OK } from "../program/run.ts";
import { findingLine } from "./check.ts";
import { inStore } from "./in_store.ts";
import { shownParts } from "./shown_progress.ts";

/** `ublk-volume scrub`: exit status 1 and a list if something is damaged. */
export async function scrub(
  { name, store: url = defaultStore(), bandwidth, quiet, json }: Values<typeof SCRUB_FLAGS>,
): Promise<number> {
  return await inStore(url, async () => {
    await using store = await openStore(url);
    const onProgress = shownParts(quiet, (objects) => `${objects} objects`);
    const report = await checkVolume(new PacedStore(store, bandwidth), name, { onProgress });
    const { findings, objects, bytes } = report;
    if (json) await writeJson(report, 2);
    else {
      await writeLines([
        ...findings.map(findingLine),
        `${objects} objects with ${formatSize(bytes)} read, ${findings.length} damaged`,
      ]);
    }
    return findings.length === 0 ? EXIT_OK : EXIT_FAILURE;
  });
}
