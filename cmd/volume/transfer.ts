/**
 * `ublk-volume import` and `ublk-volume export`.
 *
 * @module
 */

import { formatSize } from "../../disk/size.ts";
import { defaultJournals, defaultStore } from "../../volume/folders.ts";
import { exportImage, importImage, type TransferProgress } from "../../volume/transfer.ts";
import { Volume } from "../../volume/volume.ts";
import type { Values } from "../line/flags.ts";
import type { EXPORT_FLAGS, IMPORT_FLAGS } from "../line/volume_commands.ts";
import { isTerminal, writeError, writeLine } from "../program/print.ts";
import { type ErrorLog, EXIT_OK } from "../program/run.ts";
import { inStore } from "./in_store.ts";

/** Time between two lines of progress, in milliseconds. */
const PROGRESS_MS = 1000;

/** `ublk-volume import`. */
export async function importFile(
  { file, name, store = defaultStore(), journal = defaultJournals(), quiet }: Values<
    typeof IMPORT_FLAGS
  >,
  log: ErrorLog,
): Promise<number> {
  return await inStore(store, async () => {
    await using volume = await Volume.open(name, { store, journal, report: log.error });
    const done = await importImage(file, volume, { onProgress: progress(quiet) });
    await volume.sync();
    await writeLine(`${formatSize(done.copiedBytes)} of ${formatSize(done.totalBytes)} imported`);
    return EXIT_OK;
  });
}

/** `ublk-volume export`. */
export async function exportFile(
  { name, file, store = defaultStore(), quiet }: Values<typeof EXPORT_FLAGS>,
  log: ErrorLog,
): Promise<number> {
  return await inStore(store, async () => {
    await using volume = await Volume.open(name, { store, readOnly: true, report: log.error });
    const done = await exportImage(volume, file, { onProgress: progress(quiet) });
    await writeLine(`${formatSize(done.copiedBytes)} of ${formatSize(done.totalBytes)} exported`);
    return EXIT_OK;
  });
}

/** Shows on a terminal how far a transfer has come. */
function progress(quiet: boolean): (progress: TransferProgress) => void {
  if (quiet || !isTerminal()) return () => {};
  let shownMs = performance.now();
  return ({ doneBytes, totalBytes }) => {
    if (performance.now() - shownMs < PROGRESS_MS) return;
    shownMs = performance.now();
    writeError(`${Math.floor(doneBytes / totalBytes * 100)} % of ${formatSize(totalBytes)}`);
  };
}
