/**
 * Serves archives for tests, and generates contents for them.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import { loadBackend } from "../disk/load.ts";
import { zip, type ZipOptions } from "../backends/zip.ts";
import { type Found, readFat32 } from "./fat_reader.ts";
import { Scratch } from "./scratch.ts";
import { makeZip, type ZipMember } from "./zip_writer.ts";

/** Bytes that compress moderately and differ everywhere. */
export function patterned(bytes: number, seed = 1): Uint8Array<ArrayBuffer> {
  const data = new Uint8Array(bytes);
  let state = seed;
  for (let at = 0; at < bytes; at++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    data[at] = at % 7 === 0 ? state >>> 24 : at >>> 10;
  }
  return data;
}

/** A random generator of numbers below `below`, reproducible by its seed. */
export function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * below);
  };
}

/** An archive in a temporary folder, and the backend that serves it. */
export class ServedZip implements AsyncDisposable {
  /** The path of the archive. */
  readonly path: string;
  /** The backend that serves the archive. */
  readonly backend: Backend;
  readonly #close: () => Promise<void>;

  private constructor(path: string, backend: Backend, close: () => Promise<void>) {
    this.path = path;
    this.backend = backend;
    this.#close = close;
  }

  /** Writes the archive to a file and serves it. */
  static async open(archive: Uint8Array, options: ZipOptions = {}): Promise<ServedZip> {
    const scratch = new Scratch();
    const path = `${scratch.path}/a.zip`;
    Deno.writeFileSync(path, archive);
    const loaded = await loadBackend(
      structuredClone(zip(path, { cache: scratch.path, ...options })),
    );
    try {
      const backend = await loaded.open(0, await loaded.share());
      return new ServedZip(path, backend, async () => {
        await loaded.close();
        scratch[Symbol.dispose]();
      });
    } catch (error) {
      scratch[Symbol.dispose]();
      throw error;
    }
  }

  /** Reads from the disk. */
  async read(offset: number, bytes: number): Promise<Uint8Array<ArrayBuffer>> {
    const buffer = new Uint8Array(bytes).fill(0xee);
    await this.backend.readAt(buffer, offset);
    return buffer;
  }

  /** All files and folders of the served volume. */
  files(): Promise<Found[]> {
    return readFat32((offset, bytes) => this.read(offset, bytes), this.backend.size);
  }

  /** Closes the backend and removes the archive. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#close();
  }
}

/** Serves an archive as a volume, and returns all files and folders in it. */
export async function volumeOf(
  archive: readonly ZipMember[] | Uint8Array,
  options: ZipOptions = {},
): Promise<Found[]> {
  const bytes = archive instanceof Uint8Array ? archive : await makeZip(archive);
  await using served = await ServedZip.open(bytes, { files: true, ...options });
  return await served.files();
}

/** The paths in a volume. Those of folders end in a slash. */
export function pathsOf(found: readonly Found[]): string[] {
  return found.map(({ path, data }) => data === undefined ? `${path}/` : path);
}
