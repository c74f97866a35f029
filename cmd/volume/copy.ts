/**
 * `ublk-volume copy`.
 *
 * @module
 */

import { formatSize } from "../../disk/size.ts";
import { copyVolume } from "../../volume/care/copy.ts";
import { defaultStore } from "../../volume/folders.ts";
import { referenceOf } from "../../volume/names.ts";
import type { Values } from "../line/flags.ts";
import type { COPY_FLAGS } from "../line/volume_commands.ts";
import { writeLine } from "../program/print.ts";
import { type ErrorLog, EXIT_OK } from "../program/run.ts";
import { inStore } from "./in_store.ts";
import { inVolume } from "./in_volume.ts";
import { tellIfInterrupted } from "./interrupted.ts";
import { shownBytes } from "./shown_progress.ts";

/** `ublk-volume copy`: a volume with its snapshots, or one snapshot, in another store. */
export async function copy(
  { name, to, as, store: url = defaultStore(), bandwidth, quiet, ...key }: Values<
    typeof COPY_FLAGS
  >,
  log: ErrorLog,
): Promise<number> {
  return await inVolume(url, name, key, (store) =>
    inStore(to, async () => {
      const onProgress = shownBytes(quiet);
      const report = log.error;
      using _told = tellIfInterrupted(
        `${to} has no volume ${as ?? referenceOf(name).volume} yet; the same command goes on`,
      );
      const done = await copyVolume(store, name, to, { as, bandwidth, onProgress, report });
      await writeLine(`${formatSize(done.copiedBytes)} of ${formatSize(done.totalBytes)} copied`);
      return EXIT_OK;
    }));
}
