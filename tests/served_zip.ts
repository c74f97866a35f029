/**
 * Serves archives for tests, and generates contents for them.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import { OpenedDisk } from "../disk/opened.ts";
import { zip, type ZipOptions } from "../backends/zip.ts";
import { Dice } from "../uapi/dice.ts";
import { type Found, readFat32 } from "./fat_reader.ts";
import { Scratch } from "./scratch.ts";
import { makeZip, type ZipMember } from "./zip_writer.ts";

/** Bytes that compress moderately and differ everywhere. */
export function patterned(bytes: number, seed = 1): Uint8Array<ArrayBuffer> {
  const data = new Uint8Array(bytes);
  const dice = new Dice(seed);
  for (let at = 0; at < bytes; at++) {
    data[at] = at % 7 === 0 ? dice.draw(256) : at >>> 10;
  }
  return data;
}

/** An archive in a folder of the test, and the backend that serves it. */
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
    try {
      const spec = zip(path, { cache: scratch.path, ...options });
      const disk = await OpenedDisk.open(structuredClone(spec));
      return new ServedZip(path, disk.backend, async () => {
        await disk.close();
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
