/**
 * Opens a node's volumes: over NBD, or as block devices.
 *
 * @module
 */

import { parseSize } from "../disk/size.ts";
import { thrownText, UblkError } from "../uapi/error.ts";
import { fitsSocket } from "../uring/private_socket.ts";
import type { Access, Export, Exporter, ExportWish } from "./exports.ts";
import { exportByNbd, longestSocket, type NbdTerms, openDisk } from "./nbd_export.ts";
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

  /**
   * Checks that one volume can be mounted, at a socket or at a port: a mistake is told when the node
   * starts, and not by each mount.
   *
   * @throws {UblkError} `SYSCALL_FAILED`; `INVALID_ARGUMENT`
   */
  check(): void {
    this.#files.check(this.#filesOf("unix"));
    const { sockets, host } = this.#terms;
    if (!fitsSocket(longestSocket(sockets))) {
      throw new UblkError("INVALID_ARGUMENT", {
        operation: `sockets in ${sockets}`,
        reason: "its path is too long for them",
        hint: "choose a shorter one with --sockets",
      });
    }
    try {
      Deno.listen({ hostname: host.replace(/^\[|\]$/g, ""), port: 0 }).close();
    } catch (error) {
      throw new UblkError("INVALID_ARGUMENT", {
        operation: `ports of ${host}`,
        reason: thrownText(error),
        hint: "choose an address of this machine with --host",
      });
    }
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
