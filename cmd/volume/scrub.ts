/**
 * `ublk-volume scrub`.
 *
 * @module
 */

import { formatSize } from "../../disk/size.ts";
import { scrubVolume } from "../../volume/care/scrub.ts";
import { defaultJournals, defaultStore } from "../../volume/folders.ts";
import type { Values } from "../line/flags.ts";
import type { SCRUB_FLAGS } from "../line/volume_commands.ts";
import { writeJson, writeLines } from "../program/print.ts";
import { EXIT_FAILURE, EXIT_OK } from "../program/run.ts";
import { findingLine } from "./check.ts";
import { inVolume } from "./in_volume.ts";
import { shownParts } from "./shown_progress.ts";

/** `ublk-volume scrub`: exit status 1 and a list if something is damaged and stays so. */
export async function scrub(
  { name, store: url = defaultStore(), journal = defaultJournals(), quiet, json, ...values }:
    Values<
      typeof SCRUB_FLAGS
    >,
): Promise<number> {
  const { bandwidth } = values;
  return await inVolume(url, name, values, async (store) => {
    const onProgress = shownParts(quiet, (objects) => `${objects} objects`);
    const options = { journal, cacheDir: values["cache-dir"], bandwidth, onProgress };
    const report = await scrubVolume(store, name, options);
    const { findings, mended, objects, bytes } = report;
    if (json) await writeJson(report, 2);
    else {
      await writeLines([
        ...mended.map((object) => `${object}: it was damaged, and is whole again`),
        ...findings.map(findingLine),
        `${objects} objects with ${formatSize(bytes)} read, ${findings.length} damaged` +
        (mended.length === 0 ? "" : `, ${mended.length} mended`),
      ]);
    }
    return findings.length === 0 ? EXIT_OK : EXIT_FAILURE;
  });
}
