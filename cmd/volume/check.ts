/**
 * `ublk-volume check`.
 *
 * @module
 */

import { formatSize } from "../../disk/size.ts";
import { checkVolume } from "../../volume/check.ts";
import { repairVolume } from "../../volume/care/repair.ts";
import type { Finding } from "../../volume/findings.ts";
import { defaultStore } from "../../volume/folders.ts";
import { usageError, type Values } from "../line/flags.ts";
import type { CHECK_FLAGS } from "../line/volume_commands.ts";
import { writeJson, writeLines } from "../program/print.ts";
import { EXIT_FAILURE, EXIT_OK } from "../program/run.ts";
import { inVolume } from "./in_volume.ts";
import { shownParts } from "./shown_progress.ts";

/**
 * `ublk-volume check`: exit status 1 and a list if the volume is not sound, or if a repair could not
 * bring back everything.
 */
export async function check(
  { name, store: url = defaultStore(), journal, json, repair, size, force, quiet, ...key }: Values<
    typeof CHECK_FLAGS
  >,
): Promise<number> {
  if (!repair && (size !== undefined || force)) {
    throw usageError("ublk-volume check", "--size and --force are for --repair", "add --repair");
  }
  return await inVolume(url, name, key, async (store) => {
    const onProgress = shownParts(quiet, (objects) => `${objects} objects`);
    const repaired = repair
      ? await repairVolume(store, name, { size, force, onProgress })
      : undefined;
    const report = await checkVolume(store, name, { journal, onProgress });
    const { findings, objects, bytes, unnamed } = report;
    const losses = repaired?.losses ?? [];
    if (json) await writeJson(repaired === undefined ? report : { ...report, repaired }, 2);
    else {
      await writeLines([
        ...repaired === undefined ? [] : [
          repaired.repaired
            ? `head, manifest and map were made again; the disk has ${formatSize(repaired.size!)}`
            : "head, manifest and map need no repair",
        ],
        ...losses,
        ...findings.map(findingLine),
        `${objects} objects with ${formatSize(bytes)} read, ${findings.length} damaged` +
        (unnamed === 0 ? "" : `; ${unnamed} that nothing names`),
      ]);
    }
    return findings.length + losses.length === 0 ? EXIT_OK : EXIT_FAILURE;
  });
}

/** A finding as a line. */
export function findingLine({ object, offset, words }: Finding): string {
  return `${object}${offset === undefined ? "" : `, offset ${offset}`}: ${words}`;
}
