/**
 * `ublk-volume diff`.
 *
 * @module
 */

import { diffVolumes } from "../../volume/care/diff.ts";
import { diffStream } from "../../volume/care/diff_stream.ts";
import type { Store } from "../../store/store.ts";
import { defaultStore } from "../../volume/folders.ts";
import { usageError, type Values } from "../line/flags.ts";
import type { DIFF_FLAGS } from "../line/volume_commands.ts";
import { isTerminal, jsonText, STDERR_TERMINAL, writeBytes, writeLines } from "../program/print.ts";
import { EXIT_OK } from "../program/run.ts";
import { inVolume } from "./in_volume.ts";
import { shownBytes } from "./shown_progress.ts";

/** Lines that are written at a time. */
const LINES = 1000;

/** `ublk-volume diff`: a line of JSON for each part of the disk that differs, or all data. */
export async function diff(
  { from, to, store: url = defaultStore(), stream, quiet, ...key }: Values<typeof DIFF_FLAGS>,
): Promise<number> {
  if (stream && isTerminal()) {
    throw usageError("ublk-volume diff", "--stream is no text", "send it to a file or a program");
  }
  return await inVolume(url, from, key, async (store) => {
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
