/**
 * Volumes as block devices of this node, which need ublk and its rights.
 *
 * @module
 */

import { volume as volumeDisk } from "../backends/volume.ts";
import { serve } from "../device/serve.ts";
import type { NbdTerms } from "./nbd_export.ts";
import type { Export, ExportWish } from "./exports.ts";

/** Serves a volume. @throws {UblkError} */
export async function exportAsBlockDevice(
  { disk, report }: Pick<NbdTerms, "disk" | "report">,
  { volume, readOnly, takes = false }: ExportWish,
): Promise<Export> {
  const device = await serve({
    backend: volumeDisk(volume, { ...disk, readOnly, withoutJournal: takes }),
    // The service ends what it has in its own order.
    signals: false,
  });
  void device.closed.then(({ error }) => {
    if (error !== undefined) report(`${volume}: ${device.path}: ${error.message}`);
  });
  return {
    uri: device.path,
    port: 0,
    get size() {
      return device.info().size;
    },
    resize: (bytes) => device.resize(bytes),
    shut: () => void device.stop().catch((error) => report(`${volume}: ${error}`)),
    close: () => device.stop(),
  };
}
