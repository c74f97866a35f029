/**
 * `ublk-volume diff`.
 *
 * @module
 */

import { diffVolumes } from "../../volume/care/diff.ts";
import { diffStream } from "../../volume/care/diff_stream.ts";
import type { Store } from "../../store/store.ts";
import { defaultJournals, defaultStore } from "../../volume/folders.ts";
import { waitForReference } from "../../volume/wait_for_snapshot.ts";
import { usageError, type Values } from "../line/flags.ts";
import type { DIFF_FLAGS } from "../line/volume_commands.ts";
import { isTerminal, jsonText, STDERR_TERMINAL, writeBytes, writeLines } from "../program/print.ts";
import { EXIT_OK } from "../program/run.ts";
import { inVolume } from "./in_volume.ts";
import { shownBytes } from "./shown_progress.ts";

/** Lines that are written at a time. */
const LINES = 1000;

/**
 * `ublk-volume diff`: a line of JSON for each part of the disk that differs, or all data. Of a volume,
 * with everything that was answered before.
 */
export async function diff(
  { from, to, stream, quiet, ...values }: Values<typeof DIFF_FLAGS>,
): Promise<number> {
  if (stream && isTerminal()) {
    throw usageError("ublk-volume diff", "--stream is no text", "send it to a file or a program");
  }
  const { store: url = defaultStore(), journal = defaultJournals(), ...key } = values;
  return await inVolume(url, from, key, async (store) => {
    for (const name of [from, to]) await waitForReference(store, name, { journal });
    if (stream) {
      const onProgress = shownBytes(quiet, STDERR_TERMINAL.isTerminal());
      for await (const bytes of diffStream(store, from, to, { onProgress })) {
        await writeBytes(bytes);
      }
    } else await writeExtents(store, from, to);
    return EXIT_OK;
  });
}

async function writeExtents(store: Store, from: string, to: string): Promise<void> {
  let lines: string[] = [];
  for await (const extent of diffVolumes(store, from, to)) {
    lines.push(jsonText(extent));
    if (lines.length < LINES) continue;
    await writeLines(lines);
    lines = [];
  }
  await writeLines(lines);
}
