/**
 * Opens a node's volumes: over NBD, or as block devices.
 *
 * @module
 */

import type { Export, Exporter, ExportWish } from "./exports.ts";
import { exportByNbd, type NbdTerms, openDisk } from "./nbd_export.ts";

/** Opens volumes as a wish says. */
export class NodeExporter implements Exporter {
  readonly #terms: NbdTerms;

  /** On these terms, for all volumes. */
  constructor(terms: NbdTerms) {
    this.#terms = terms;
  }

  async open(wish: ExportWish): Promise<Export> {
    if (wish.access !== "block") return await exportByNbd(this.#terms, wish);
    const { exportAsBlockDevice } = await import("./block_export.ts");
    return await exportAsBlockDevice(this.#terms, wish);
  }

  async drain(volume: string): Promise<void> {
    const disk = await openDisk(this.#terms, { volume, readOnly: false });
    await disk.close!();
  }
}
