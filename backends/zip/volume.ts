/**
 * Serves an archive as a read-only FAT32 volume. Tables and folders are computed, and files are read
 * from the archive, when somebody reads them.
 *
 * @module
 */

import { allOf } from "../../disk/answers.ts";
import type { Answer, Backend } from "../../disk/backend.ts";
import { refusal } from "../../disk/file_checks.ts";
import type { Archive } from "./archive.ts";
import type { Contents } from "./contents.ts";
import { Fat32 } from "./fat32.ts";
import { refusedWrite } from "./image.ts";
import { Tree } from "./tree.ts";

/** Number of folders whose entries are cached, because a large one (2 MiB) is read in pieces. */
const KEPT_FOLDERS = 8;

/** A volume, and warnings about members left out of it. */
export interface Volume {
  /** The backend that serves the volume. */
  readonly backend: Backend;
  /** One log line per reason for leaving members out. */
  readonly warnings: readonly string[];
}

/**
 * Creates the volume of an archive.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if nothing in it can be served.
 */
export async function volumeOf(
  { path, members }: Archive,
  contents: Contents,
  blockSize: number,
): Promise<Volume> {
  const tree = await Tree.of(members);
  const [worst] = tree.leftOut;
  if (worst !== undefined && tree.files.length === 0 && tree.folderCount === 1) {
    const [reason, { first }] = worst;
    throw refusal(`${first} in ${path}`, reason, "give an archive with files that can be served");
  }
  const label = path.split("/").at(-1)!.replace(/\.zip$/i, "");
  const fat = new Fat32(tree, label, blockSize);
  const warnings = [...tree.leftOut].map(([reason, { first, count }]) => {
    const more = count === 1 ? "" : ` and ${count - 1} more`;
    return `${path}: left out: ${first}${more}: ${reason}`;
  });
  return { backend: new VolumeBackend(contents, fat, blockSize), warnings };
}

class VolumeBackend implements Backend {
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly = true;
  readonly persistent = true;
  readonly #fat: Fat32;
  readonly #contents: Contents;
  /** Cached entries by folder; least recently read first. */
  readonly #folders = new Map<number, Uint8Array<ArrayBuffer>>();

  constructor(contents: Contents, fat: Fat32, blockSize: number) {
    this.#contents = contents;
    this.#fat = fat;
    this.blockSize = blockSize;
    this.size = fat.size;
  }

  readAt(buffer: Uint8Array<ArrayBuffer>, offset: number): Answer {
    let waits: Promise<void>[] | undefined;
    for (let done = 0; done < buffer.length;) {
      const piece = this.#fat.pieceAt(offset + done, buffer.length - done);
      const part = buffer.subarray(done, done + piece.bytes);
      switch (piece.kind) {
        case "table":
          this.#fat.readTables(part, offset + done);
          break;
        case "folder":
          part.fill(0);
          part.set(this.#folderBytes(piece.folder).subarray(piece.at, piece.at + piece.bytes));
          break;
        case "file": {
          const answer = this.#readFile(piece.member, part, piece.at);
          if (answer !== undefined) (waits ??= []).push(answer);
          break;
        }
        case "free":
          part.fill(0);
      }
      done += piece.bytes;
    }
    if (waits !== undefined) return allOf(waits);
  }

  writeAt(): never {
    throw refusedWrite();
  }

  #folderBytes(folder: number): Uint8Array<ArrayBuffer> {
    const bytes = this.#folders.get(folder) ?? this.#fat.folderBytes(folder);
    this.#folders.delete(folder);
    this.#folders.set(folder, bytes);
    if (this.#folders.size > KEPT_FOLDERS) this.#folders.delete(this.#folders.keys().next().value!);
    return bytes;
  }

  /** Rejects rather than throws, because other files may still be written to the buffer. */
  #readFile(member: number, part: Uint8Array<ArrayBuffer>, at: number): Promise<void> | undefined {
    try {
      return this.#contents.read(member, part, at) ?? undefined;
    } catch (error) {
      return Promise.reject(error);
    }
  }
}
