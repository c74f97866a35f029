/**
 * The descriptors of a node's mounts. Deno panics if it runs out of them, and all clients of the node would
 * lose their disks. So a mount is refused if the worst that all of them can need is too much.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { volumeFiles } from "../volume/open_files.ts";
import { EbsError } from "./error.ts";
import type { Access } from "./exports.ts";

/** Clients of a mount at a time. */
export const CONNECTIONS = 64;

/** Handshakes of a mount at a time: all of its clients may come together. */
export function handshakesOf(connections: number): number {
  return Math.max(16, connections);
}

/** Deno's, of the connection to NATS, and of volumes that are open for a moment. */
const NODE_FILES = 256;
/** Of a block device: its nodes, rings and eventfds. */
const DEVICE_FILES = 32;

/** The properties of a mount that decide how many files it may need. */
export interface FilesWish {
  readonly access: Access;
  /** Bytes of the journal; undefined for the default. */
  readonly journalBytes: number | undefined;
  /** Clients at a time. */
  readonly connections: number;
}

/** The most descriptors that a mount may need. */
export function filesOf({ access, journalBytes, connections }: FilesWish): number {
  const reached = access === "block" ? DEVICE_FILES : 1 + connections + handshakesOf(connections);
  return volumeFiles(journalBytes) + reached;
}

/** The descriptors that a process may have, shared by its mounts. */
export class OpenFiles {
  readonly #limit: number;
  #taken = NODE_FILES;

  /** @param limit `ulimit -n`. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Checks that there is room for a mount at all. @throws {UblkError} `SYSCALL_FAILED` */
  check(files: number): void {
    const needed = NODE_FILES + files;
    if (needed <= this.#limit) return;
    throw new UblkError("SYSCALL_FAILED", {
      operation: "start the server",
      reason: `it may open ${this.#limit} files, and needs ${needed} for one volume`,
      hint: "raise the limit: `ulimit -n`, or LimitNOFILE= of a systemd unit",
    });
  }

  /**
   * Takes what a mount may need.
   *
   * @returns Gives it back. Idempotent.
   * @throws {EbsError} `unavailable` if too many are mounted.
   */
  take(files: number): () => void {
    if (this.#taken + files > this.#limit) {
      const reason = `the node may open ${this.#limit} files, which is too few for one more mount`;
      throw new EbsError("unavailable", `${reason}; unmount one, or raise its \`ulimit -n\``);
    }
    this.#taken += files;
    let isTaken = true;
    return () => {
      if (isTaken) this.#taken -= files;
      isTaken = false;
    };
  }
}
