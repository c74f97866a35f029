/**
 * A simple filesystem in a volume: files one after the other, each from a block on, and a table of
 * them that is kept outside, in JSON.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { UblkError } from "../../uapi/error.ts";
import type { Volume } from "../../volume.ts";

/** Bytes that are read or written at once. */
const PORTION_BYTES = 1 << 20;

/** A file in a volume. */
export interface StoredFile {
  /** Its path below the folder that was stored. */
  readonly path: string;
  /** Where in the volume it begins, in bytes. */
  readonly offset: number;
  /** Its length in bytes. */
  readonly size: number;
  /** The SHA-256 of its contents, in hexadecimal digits. */
  readonly sha256: string;
}

/** The table of a filesystem. */
export interface FileTable {
  /** The volume's name. */
  readonly volume: string;
  /** Where the next file is to begin. */
  readonly next: number;
  /** The files. */
  readonly files: readonly StoredFile[];
}

/** The paths of the files in a folder and those below, sorted. */
export function pathsIn(folder: string, below = ""): string[] {
  const found: string[] = [];
  for (const { name, isFile, isDirectory } of Deno.readDirSync(`${folder}/${below}`)) {
    const path = `${below}${name}`;
    if (isDirectory) found.push(...pathsIn(folder, `${path}/`));
    else if (isFile) found.push(path);
  }
  return found.sort();
}

/** Bytes that the files of a folder take in a volume. */
export function bytesOf(folder: string, paths: readonly string[], blockSize: number): number {
  const sizes = paths.map((path) => Deno.statSync(`${folder}/${path}`).size);
  return sizes.reduce((sum, size) => sum + Math.ceil(size / blockSize) * blockSize, 0);
}

/** Stores a file, from an offset of the volume on. */
export async function storeFile(
  volume: Volume,
  folder: string,
  path: string,
  offset: number,
): Promise<StoredFile> {
  using file = await Deno.open(`${folder}/${path}`);
  const hash = createHash("sha256");
  const buffer = new Uint8Array(PORTION_BYTES);
  let size = 0;
  for (;;) {
    const length = await fill(file, buffer);
    if (length === 0) break;
    hash.update(buffer.subarray(0, length));
    const whole = Math.ceil(length / volume.blockSize) * volume.blockSize;
    if (offset + size + whole > volume.size) {
      throw new UblkError("INVALID_ARGUMENT", {
        operation: `store ${path}`,
        reason: `the volume ${volume.name} is full`,
        hint: "make a larger one, with -size",
      });
    }
    buffer.fill(0, length, whole);
    await volume.write(buffer.subarray(0, whole), offset + size);
    size += length;
    if (length < buffer.length) break;
  }
  return { path, offset, size, sha256: hash.digest("hex") };
}

/** The SHA-256 of a file as the volume has it. */
export async function sumOfStored(volume: Volume, { offset, size }: StoredFile): Promise<string> {
  const hash = createHash("sha256");
  const buffer = new Uint8Array(PORTION_BYTES);
  for (let done = 0; done < size; done += PORTION_BYTES) {
    const length = Math.min(PORTION_BYTES, size - done);
    const whole = Math.ceil(length / volume.blockSize) * volume.blockSize;
    await volume.read(buffer.subarray(0, whole), offset + done);
    hash.update(buffer.subarray(0, length));
  }
  return hash.digest("hex");
}

/** Fills a buffer from a file, as far as it has bytes. */
async function fill(file: Deno.FsFile, buffer: Uint8Array<ArrayBuffer>): Promise<number> {
  let done = 0;
  while (done < buffer.length) {
    const count = await file.read(buffer.subarray(done));
    if (count === null) break;
    done += count;
  }
  return done;
}
