/**
 * Volumes as block devices of this node, which need ublk and its rights.
 *
 * @module
 */

import { serve, type ServedDevice } from "../device/serve.ts";
import type { VolumeDisk } from "../volume/open_disk.ts";
import { SharedGate } from "./engine_gate.ts";
import type { Export, ExportWish } from "./exports.ts";
import { gatedVolume } from "./gated_volume.ts";
import { diskOf, type NbdTerms } from "./nbd_export.ts";

/** Between attempts to stop a device, in milliseconds. */
const PAUSE_MS = 1_000;

/** Serves a volume. @throws {UblkError} */
export async function exportAsBlockDevice(
  terms: Pick<NbdTerms, "disk" | "key" | "report">,
  wish: ExportWish,
): Promise<Export> {
  const { volume, readOnly } = wish;
  const { report } = terms;
  const gate = new SharedGate();
  const disk = await diskOf(terms, wish);
  const device = await serve({
    // A reader has no claim that it could lose.
    backend: readOnly ? disk : gatedVolume(disk.options as VolumeDisk, gate),
    // The service ends what it has in its own order.
    signals: false,
  });
  return exportOf(device, gate, (line) => report(`${volume}: ${line}`));
}

/** A device that is served, as an export. */
export function exportOf(
  device: Pick<ServedDevice, "path" | "state" | "closed" | "info" | "resize" | "stop">,
  gate: Pick<SharedGate, "shut" | "epoch">,
  report: (line: string) => void,
  pauseMs: number = PAUSE_MS,
): Export {
  const { promise: ended, resolve: end } = Promise.withResolvers<string>();
  let closed: Promise<void> | undefined;
  const { path } = device;
  void device.closed.then(({ reason, error }) => {
    if (closed === undefined) end(`${path} has ended: ${error?.message ?? `it was ${reason}`}`);
  });
  /** As long as the kernel cannot stop the device, somebody may use it, and the volume is not left. */
  const close = async () => {
    for (;;) {
      try {
        return await device.stop();
      } catch (error) {
        if (device.state !== "live") throw error;
        report(`${path} goes on: ${error instanceof Error ? error.message : error}; trying on`);
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    }
  };
  return {
    uri: path,
    port: 0,
    get size() {
      return device.info().size;
    },
    epoch: gate.epoch,
    ended,
    resize: (bytes) => device.resize(bytes),
    shut: () => gate.shut(),
    close: () => closed ??= close(),
  };
}
