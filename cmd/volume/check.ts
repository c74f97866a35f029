/**
 * `ublk-volume check`.
 *
 * @module
 */

import { formatSize } from "../../disk/size.ts";
import { openStore } from "../../store/open.ts";
import { checkVolume } from "../../volume/check.ts";
import type { Finding } from "../../volume/findings.ts";
import { defaultStore } from "../../volume/folders.ts";
import type { Values } from "../line/flags.ts";
import type { CHECK_FLAGS } from "../line/volume_commands.ts";
import { writeJson, writeLines } from "../program/print.ts";
import { EXIT_FAILURE, EXIT_OK } from "../program/run.ts";
import { inStore } from "./in_store.ts";

/** `ublk-volume check`: exit status 1 and a list if the volume is not sound. */
export async function check(
  { name, store: url = defaultStore(), journal, json }: Values<typeof CHECK_FLAGS>,
): Promise<number> {
  return await inStore(url, async () => {
    await using store = await openStore(url);
    const report = await checkVolume(store, name, { journal });
    const { findings, objects, bytes, unnamed } = report;
    if (json) await writeJson(report, 2);
    else {
      await writeLines([
        ...findings.map(findingLine),
        `${objects} objects with ${formatSize(bytes)} read, ${findings.length} damaged` +
        (unnamed === 0 ? "" : `; ${unnamed} that nothing names`),
      ]);
    }
    return findings.length === 0 ? EXIT_OK : EXIT_FAILURE;
  });
}

function findingLine({ object, offset, words }: Finding): string {
  return `${object}${offset === undefined ? "" : `, offset ${offset}`}: ${words}`;
}
