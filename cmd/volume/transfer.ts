/**
 * `ublk-volume import` and `ublk-volume export`.
 *
 * @module
 */

import { formatSize } from "../../disk/size.ts";
import { exportChanges } from "../../volume/care/diff.ts";
import { importDiff } from "../../volume/care/diff_stream.ts";
import { importChanges } from "../../volume/care/import_changes.ts";
import { defaultJournals, defaultStore } from "../../volume/folders.ts";
import { referenceOf } from "../../volume/names.ts";
import { exportImage, importImage, type TransferProgress } from "../../volume/transfer.ts";
import { Volume } from "../../volume/volume.ts";
import { waitForReference } from "../../volume/wait_for_snapshot.ts";
import { usageError, type Values } from "../line/flags.ts";
import type { EXPORT_FLAGS, IMPORT_FLAGS } from "../line/volume_commands.ts";
import { writeLine } from "../program/print.ts";
import { type ErrorLog, EXIT_OK } from "../program/run.ts";
import { convertImage, withRawImage } from "./images.ts";
import { inVolume } from "./in_volume.ts";
import { tellIfInterrupted } from "./interrupted.ts";
import { shownBytes } from "./shown_progress.ts";

/** `ublk-volume import`: of a raw image, or through `qemu-img` of whatever that reads. */
export async function importFile(
  values: Values<typeof IMPORT_FLAGS>,
  log: ErrorLog,
): Promise<number> {
  const { file, name, store: url = defaultStore(), journal = defaultJournals(), onto, quiet } =
    values;
  const { format } = values;
  if (onto && format === "diff") {
    throw usageError(
      "ublk-volume import",
      "--onto is for images",
      "leave it out: a diff has changes",
    );
  }
  return await inVolume(url, name, values, async (store) => {
    using _told = tellIfInterrupted(
      `${name} has a part of ${file} perhaps, and was not detached; the same command makes it whole`,
    );
    await using volume = await Volume.open(name, { store, journal, report: log.error });
    const bring = format === "diff" ? importDiff : onto ? importChanges : importImage;
    const fill = async (path: string) => {
      const onProgress = shownBytes(quiet);
      const done = await bring(path, volume, { onProgress });
      await volume.sync();
      await writeLine(`${formatSize(done.copiedBytes)} of ${formatSize(done.totalBytes)} imported`);
    };
    if (format === undefined || format === "raw" || format === "diff") await fill(file);
    else {
      await withRawImage(file, async (path) => {
        await convertImage({ from: file, format, to: path, as: "raw" });
        await fill(path);
      });
    }
    return EXIT_OK;
  });
}

/** `ublk-volume export`: of a volume, with everything that was answered before. */
export async function exportFile(
  { name, file, since, format = "raw", quiet, ...values }: Values<typeof EXPORT_FLAGS>,
  log: ErrorLog,
): Promise<number> {
  if (since !== undefined && format !== "raw") {
    throw usageError("ublk-volume export", "--since is for raw images", "leave --format away");
  }
  const { store: url = defaultStore(), journal = defaultJournals(), ...key } = values;
  const onProgress = shownBytes(quiet);
  return await inVolume(url, name, key, async (store) => {
    await waitForReference(store, name, { journal });
    using _told = tellIfInterrupted(
      `${file} has a part of ${name} at most; the same command makes it whole`,
    );
    if (since !== undefined) {
      const from = `${referenceOf(name).volume}@${since}`;
      await waitForReference(store, from, { journal });
      await tell(await exportChanges(store, from, name, file, { onProgress }));
      return EXIT_OK;
    }
    await using volume = await Volume.open(name, { store, readOnly: true, report: log.error });
    if (format === "raw") await tell(await exportImage(volume, file, { onProgress }));
    else {
      await withRawImage(file, async (path) => {
        const done = await exportImage(volume, path, { onProgress });
        await convertImage({ from: path, format: "raw", to: file, as: format });
        await tell(done);
      });
    }
    return EXIT_OK;
  });
}

async function tell({ copiedBytes, totalBytes }: TransferProgress): Promise<void> {
  await writeLine(`${formatSize(copiedBytes)} of ${formatSize(totalBytes)} exported`);
}
