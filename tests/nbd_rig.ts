/**
 * A disk of bytes, served over NBD at a Unix socket in a folder of its own.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import { type NbdServer, serveNbd, type ServeNbdOptions } from "../nbd.ts";
import { Scratch } from "./scratch.ts";

/** A disk in an array, and the calls that came. */
export interface ArrayDisk extends Backend {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** One line each: `write 0 512 fua`. */
  readonly calls: string[];
}

/** A disk in an array. */
export function arrayDisk(size: number, more: Partial<Backend> = {}): ArrayDisk {
  const bytes = new Uint8Array(size);
  const calls: string[] = [];
  return {
    ...{ size, bytes, calls },
    readAt(buffer, offset) {
      calls.push(`read ${offset} ${buffer.length}`);
      buffer.set(bytes.subarray(offset, offset + buffer.length));
    },
    writeAt(buffer, offset, { fua }) {
      calls.push(`write ${offset} ${buffer.length}${fua ? " fua" : ""}`);
      bytes.set(buffer, offset);
    },
    flush: () => void calls.push("flush"),
    ...more,
  };
}

/** A served disk. */
export class NbdRig implements AsyncDisposable {
  readonly server: NbdServer;
  /** The path of the socket. */
  readonly path: string;
  /** The lines that the server reported. */
  readonly lines: string[];
  readonly #scratch: Scratch;

  private constructor(server: NbdServer, path: string, lines: string[], scratch: Scratch) {
    this.server = server;
    this.path = path;
    this.lines = lines;
    this.#scratch = scratch;
  }

  /** Serves. */
  static async of(options: ServeNbdOptions): Promise<NbdRig> {
    const scratch = new Scratch();
    const path = `${scratch.path}/s`;
    const lines: string[] = [];
    try {
      const report = (line: string) => void lines.push(line);
      const server = await serveNbd({ report, ...options, listen: `unix:${path}` });
      return new NbdRig(server, path, lines, scratch);
    } catch (error) {
      scratch[Symbol.dispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close();
    this.#scratch[Symbol.dispose]();
  }
}
