/**
 * `ublk-volume diff`.
 *
 * @module
 */

import { diffVolumes } from "../../volume/care/diff.ts";
import { defaultStore } from "../../volume/folders.ts";
import type { Values } from "../line/flags.ts";
import type { DIFF_FLAGS } from "../line/volume_commands.ts";
import { jsonText, writeLines } from "../program/print.ts";
import { EXIT_OK } from "../program/run.ts";
import { inStore } from "./in_store.ts";

/** Lines that are written at a time. */
const LINES = 1000;

/** `ublk-volume diff`: a line of JSON for each part of the disk that differs. */
export async function diff(
  { from, to, store = defaultStore() }: Values<typeof DIFF_FLAGS>,
): Promise<number> {
  return await inStore(store, async () => {
    let lines: string[] = [];
    for await (const extent of diffVolumes(store, from, to)) {
      lines.push(jsonText(extent));
      if (lines.length < LINES) continue;
      await writeLines(lines);
      lines = [];
    }
    await writeLines(lines);
    return EXIT_OK;
  });
}
