/**
 * Volumes over NBD, served by this process.
 *
 * @module
 */

import { volume as volumeDisk, type VolumeDiskOptions } from "../backends/volume.ts";
import { serveNbd } from "../nbd.ts";
import {
  openDisk as openVolumeDisk,
  type OpenVolumeDisk,
  type VolumeDisk,
} from "../volume/open_disk.ts";
import { gated } from "./gate.ts";
import type { Export, ExportWish } from "./exports.ts";

/** How volumes are opened and served. */
export interface NbdTerms {
  /** The options of all volumes: their store, their journals, their caches. */
  readonly disk: VolumeDiskOptions;
  /** The folder of sockets. */
  readonly sockets: string;
  /** The host of ports. */
  readonly host: string;
  /** Takes a line for the log. */
  readonly report: (line: string) => void;
}

/** Opens a volume as a disk of this thread. @throws {UblkError} */
export async function openDisk(
  { disk }: Pick<NbdTerms, "disk">,
  { volume, readOnly, takes = false }: Pick<ExportWish, "volume" | "readOnly" | "takes">,
): Promise<OpenVolumeDisk> {
  const { options } = volumeDisk(volume, { ...disk, readOnly, withoutJournal: takes });
  return await openVolumeDisk(options as VolumeDisk);
}

/** Serves a volume. @throws {UblkError} */
export async function exportByNbd(terms: NbdTerms, wish: ExportWish): Promise<Export> {
  const { volume, readOnly, access } = wish;
  const disk = await openDisk(terms, wish);
  const gate = { isShut: false };
  try {
    for (const warning of disk.warnings ?? []) terms.report(`${volume}: ${warning}`);
    const server = await serveNbd({
      backend: gated(disk, gate, volume),
      readOnly,
      listen: access === "tcp"
        ? `tcp:${terms.host}:${wish.port}`
        : `unix:${terms.sockets}/${volume}.sock`,
      report: (line) => terms.report(`${volume}: ${line}`),
    });
    const [uri] = server.uris;
    let closed: Promise<void> | undefined;
    const close = async () => {
      try {
        await server.close();
      } finally {
        await disk.close!();
      }
    };
    return {
      uri,
      port: access === "tcp" ? Number(new URL(uri).port) : 0,
      get size() {
        return disk.size;
      },
      async resize(bytes) {
        await disk.resize!(bytes);
      },
      hurry: () => disk.hurry?.(),
      shut: () => void (gate.isShut = true),
      close: () => closed ??= close(),
    };
  } catch (error) {
    await disk.close!();
    throw error;
  }
}
