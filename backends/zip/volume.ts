/**
 * An archive as a read-only FAT32 volume: what is there is computed, the files' contents are read
 * from the archive when somebody reads them.
 *
 * @module
 */

import { allOf } from "../wrappers/answers.ts";
import type { Answer, Backend } from "../backend.ts";
import { refusal } from "../backing_file.ts";
import type { Archive } from "./archive.ts";
import type { CacheFile } from "./cache_file.ts";
import { type Contents, contentsOf } from "./contents.ts";
import { Fat32 } from "./fat32.ts";
import { refusedWrite } from "./image.ts";
import { type FileNode, type FolderNode, treeOf } from "./tree.ts";

/** A volume, and what of the archive is not in it, in a line for each reason. */
export interface Volume {
  /** It serves the volume. */
  readonly backend: Backend;
  /** For the log. */
  readonly warnings: readonly string[];
}

/**
 * Makes the volume of an archive.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` where nothing in it can be served.
 */
export function volumeOf(archive: Archive, blockSize: number, cache: () => CacheFile): Volume {
  const { root, leftOut } = treeOf(archive.members);
  if (leftOut.size > 0 && root.files.length + root.folders.length === 0) {
    const [reason, names] = [...leftOut][0];
    const hint = "there is nothing else in it to serve";
    throw refusal(`${names[0]} in ${archive.path}`, reason, hint);
  }
  const label = archive.path.split("/").at(-1)!.replace(/\.zip$/i, "");
  const fat = new Fat32(root, label, blockSize);
  const warnings = [...leftOut].map(([reason, names]) => {
    const count = names.length === 1 ? "" : ` and ${names.length - 1} more`;
    return `${archive.path}: left out: ${names[0]}${count}: ${reason}`;
  });
  return { backend: new VolumeBackend(archive, fat, blockSize, cache), warnings };
}

class VolumeBackend implements Backend {
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly = true;
  readonly persistent = true;
  readonly #fat: Fat32;
  readonly #archive: Archive;
  readonly #cache: () => CacheFile;
  readonly #contents = new Map<FileNode, Contents>();
  /** The folder that was read last: a large one is read in many pieces. */
  #folder: { readonly node: FolderNode; readonly bytes: Uint8Array<ArrayBuffer> } | undefined;

  constructor(archive: Archive, fat: Fat32, blockSize: number, cache: () => CacheFile) {
    this.#archive = archive;
    this.#fat = fat;
    this.#cache = cache;
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
          part.set(this.#folderBytes(piece.node).subarray(piece.at, piece.at + piece.bytes));
          break;
        case "file": {
          const answer = this.#readFile(piece.node, part, piece.at);
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

  #folderBytes(node: FolderNode): Uint8Array<ArrayBuffer> {
    if (this.#folder?.node !== node) this.#folder = { node, bytes: this.#fat.folderBytes(node) };
    return this.#folder.bytes;
  }

  /** A failure is a Promise too: other files' contents may still be on their way to the buffer. */
  #readFile(node: FileNode, part: Uint8Array<ArrayBuffer>, at: number): Promise<void> | undefined {
    try {
      return this.#contentsOf(node).read(part, at) ?? undefined;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #contentsOf(node: FileNode): Contents {
    let contents = this.#contents.get(node);
    if (contents === undefined) {
      contents = contentsOf(this.#archive, node.member, this.#cache);
      this.#contents.set(node, contents);
    }
    return contents;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#contents.values()].map((contents) => contents.close()));
  }
}
