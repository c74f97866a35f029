/**
 * Volumes over NBD, served by this process.
 *
 * @module
 */

import { volume as volumeDisk, type VolumeDiskOptions } from "../backends/volume.ts";
import type { BackendSpec } from "../disk/spec.ts";
import { serveNbd } from "../nbd.ts";
import { fitsSocket } from "../uring/private_socket.ts";
import {
  openDisk as openVolumeDisk,
  type OpenVolumeDisk,
  type VolumeDisk,
} from "../volume/open_disk.ts";
import { gated } from "./gate.ts";
import type { Export, ExportWish } from "./exports.ts";
import type { NodeKey } from "./node_key.ts";
import { CONNECTIONS, handshakesOf } from "./open_files.ts";

/** Time limit for a request of a client, in milliseconds. */
const DEADLINE_MS = 30_000;

/** How volumes are opened and served. */
export interface NbdTerms {
  /** The options of all volumes: their store, their journals, their caches. */
  readonly disk: VolumeDiskOptions;
  /** Opens encrypted volumes. */
  readonly key: Pick<NodeKey, "of">;
  /** The folder of sockets. */
  readonly sockets: string;
  /** The host of ports. */
  readonly host: string;
  /**
   * Most clients of a volume at a time.
   *
   * @default 64
   */
  readonly connections?: number;
  /** Takes a line for the log. */
  readonly report: (line: string) => void;
}

/** A volume as a disk that is wished for. @throws {UblkError} @throws {EbsError} */
export async function diskOf(
  { disk, key }: Pick<NbdTerms, "disk" | "key">,
  { volume, readOnly, takes = false }: Pick<ExportWish, "volume" | "readOnly" | "takes">,
): Promise<BackendSpec> {
  const options = { ...disk, key: await key.of(volume) };
  return volumeDisk(volume, { ...options, readOnly, withoutJournal: takes });
}

/** Opens a volume as a disk of this thread. @throws {UblkError} @throws {EbsError} */
export async function openDisk(
  terms: Pick<NbdTerms, "disk" | "key">,
  wish: Pick<ExportWish, "volume" | "readOnly" | "takes">,
): Promise<OpenVolumeDisk> {
  const { options } = await diskOf(terms, wish);
  return await openVolumeDisk(options as VolumeDisk, DEADLINE_MS);
}

/**
 * The path of a volume's socket: its id, or a digest of that if it is too long for the path of a socket.
 * No id begins with `~`.
 */
export async function socketOf(folder: string, volume: string): Promise<string> {
  const path = `${folder}/${volume}.sock`;
  if (fitsSocket(path)) return path;
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(volume));
  return digestSocket(folder, new Uint8Array(digest, 0, 16));
}

function digestSocket(folder: string, digest: Uint8Array): string {
  return `${folder}/~${digest.toHex()}.sock`;
}

/** The longest path of a volume's socket in a folder that may be needed. */
export function longestSocket(folder: string): string {
  return digestSocket(folder, new Uint8Array(16));
}

/** Whether an address is another program's. */
function isTaken(error: unknown): boolean {
  return error instanceof Error && error.cause instanceof Deno.errors.AddrInUse;
}

/** Serves a volume. @throws {UblkError} */
export async function exportByNbd(terms: NbdTerms, wish: ExportWish): Promise<Export> {
  const { volume, readOnly, access } = wish;
  const disk = await openDisk(terms, wish);
  const gate = { isShut: false };
  const { connections = CONNECTIONS } = terms;
  try {
    for (const warning of disk.warnings ?? []) terms.report(`${volume}: ${warning}`);
    const report = (line: string) => terms.report(`${volume}: ${line}`);
    const serveAt = (listen: string) =>
      serveNbd({
        backend: gated(disk, gate, volume),
        ...{ readOnly, listen, report },
        ...{ connections, handshakes: handshakesOf(connections), deadlineMs: DEADLINE_MS },
      });
    const atPort = (port: number) => serveAt(`tcp:${terms.host}:${port}`);
    const server = access !== "tcp"
      ? await serveAt(`unix:${await socketOf(terms.sockets, volume)}`)
      : await atPort(wish.port).catch((error) => {
        if (wish.port === 0 || !isTaken(error)) throw error;
        // A port that it had before, and somebody else has now. He may keep it for ever.
        report(`its port ${wish.port} is in use by now: it gets another one`);
        return atPort(0);
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
      epoch: disk.epoch,
      // All volumes of the node share its thread.
      resize: (bytes) => disk.resizeLater!(bytes),
      hurry: () => disk.hurry?.(),
      shut: () => void (gate.isShut = true),
      close: () => closed ??= close(),
    };
  } catch (error) {
    await disk.close!();
    throw error;
  }
}
