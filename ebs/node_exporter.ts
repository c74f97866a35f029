/**
 * Opens a node's volumes: over NBD, or as block devices.
 *
 * @module
 */

import { parseSize } from "../disk/size.ts";
import type { Access, Export, Exporter, ExportWish } from "./exports.ts";
import { exportByNbd, type NbdTerms, openDisk } from "./nbd_export.ts";
import { CONNECTIONS, filesOf, OpenFiles } from "./open_files.ts";

/** Opens volumes as a wish says. */
export class NodeExporter implements Exporter {
  readonly #terms: NbdTerms;
  readonly #files: OpenFiles;

  /**
   * On these terms, for all volumes.
   *
   * @param files What the process may open. Default: no limit.
   */
  constructor(terms: NbdTerms, files: OpenFiles = new OpenFiles(Infinity)) {
    this.#terms = terms;
    this.#files = files;
  }

  /** Checks that one volume can be mounted. @throws {UblkError} `SYSCALL_FAILED` */
  check(): void {
    this.#files.check(this.#filesOf("unix"));
  }

  async open(wish: ExportWish): Promise<Export> {
    const give = this.#files.take(this.#filesOf(wish.access));
    try {
      const exported = await this.#open(wish);
      const close = exported.close.bind(exported);
      return Object.assign(exported, { close: () => close().finally(give) });
    } catch (error) {
      give();
      throw error;
    }
  }

  async #open(wish: ExportWish): Promise<Export> {
    if (wish.access !== "block") return await exportByNbd(this.#terms, wish);
    const { exportAsBlockDevice } = await import("./block_export.ts");
    return await exportAsBlockDevice(this.#terms, wish);
  }

  #filesOf(access: Access): number {
    const { disk: { journalSize: size }, connections = CONNECTIONS } = this.#terms;
    const journalBytes = typeof size === "string" ? parseSize(size) : size;
    return filesOf({ access, journalBytes, connections });
  }

  async drain(volume: string, takes = false): Promise<void> {
    const disk = await openDisk(this.#terms, { volume, readOnly: false, takes });
    await disk.close!();
  }
}
