/**
 * The temporary files of a store in files, and the removal of those that dead processes left.
 *
 * ```
 * .tmp/ID     empty; its owner holds a lock on it as long as it lives
 * .tmp/ID-N   a temporary file of this owner
 * ```
 *
 * @module
 */

import type { File, Files } from "../files/port.ts";
import { writeWhole } from "../files/whole.ts";
import { EEXIST } from "../uapi/errno.ts";
import { errnoOfFile, fileError } from "../files/file_error.ts";
import { attempt } from "./file_failure.ts";
import { makeIfMissing } from "./folders.ts";

/** Number of ids that are tried. */
const TRIES = 10;

/** The temporary files of one owner. */
export class TemporaryFiles {
  readonly #files: Files;
  readonly #folder: string;
  readonly #newId: () => string;
  #id = "";
  #held: File | undefined;
  #count = 0;

  /** Nothing is touched yet. */
  constructor(files: Files, folder: string, newId: () => string) {
    this.#files = files;
    this.#folder = folder;
    this.#newId = newId;
  }

  /** An unused path for a temporary file. */
  path(): string {
    this.#held ??= this.#hold();
    return `${this.#folder}/${this.#id}-${++this.#count}`;
  }

  /**
   * Writes a file whose bytes are durable. A failure leaves none.
   *
   * @returns Its path.
   */
  write(bytes: Uint8Array<ArrayBuffer>): string {
    const path = this.path();
    try {
      using file = this.#files.open(path, { write: true, create: "new" });
      writeWhole(file, bytes, 0);
      file.sync(false);
    } catch (error) {
      this.discard([path]);
      throw error;
    }
    return path;
  }

  /** The same; the thread goes on while the file becomes durable. */
  async writeBeside(
    bytes: Uint8Array<ArrayBuffer>,
    sync: (file: File) => Promise<void>,
  ): Promise<string> {
    const path = this.path();
    try {
      using file = this.#files.open(path, { write: true, create: "new" });
      writeWhole(file, bytes, 0);
      await sync(file);
    } catch (error) {
      this.discard([path]);
      throw error;
    }
    return path;
  }

  /** Removes files. Those that cannot be removed stay until somebody opens the store. */
  discard(paths: readonly string[]): void {
    for (const path of paths) attempt(() => this.#files.remove(path));
  }

  /**
   * Removes the files of owners that have ended, where that is allowed.
   *
   * @param settle Makes the names of all objects durable. Called if an owner has ended while it made
   *   a name durable: the temporary file is the mark of that.
   */
  removeLeftovers(settle: () => void): void {
    attempt(() => {
      if (this.#files.status(this.#folder) === undefined) return;
      const groups = new Map<string, string[]>();
      for (const name of this.#files.list(this.#folder)) {
        const id = name.replace(/-[0-9]+$/, "");
        const group = groups.get(id) ?? [];
        groups.set(id, group);
        if (name !== id) group.push(`${this.#folder}/${name}`);
      }
      for (const [id, paths] of groups) this.#removeOf(id, paths, settle);
    });
  }

  /** Ends the ownership. */
  close(): void {
    if (this.#held === undefined) return;
    this.discard([`${this.#folder}/${this.#id}`]);
    this.#held.close();
    this.#held = undefined;
  }

  #removeOf(id: string, paths: readonly string[], settle: () => void): void {
    const own = `${this.#folder}/${id}`;
    // A power cut may have left temporary files without their owner's.
    const isThere = this.#files.status(own) !== undefined;
    using file = isThere ? this.#files.open(own, { write: true }) : undefined;
    if (file !== undefined && !file.lock("exclusive")) return;
    if (paths.some((path) => (this.#files.status(path)?.links ?? 0) > 1)) settle();
    // The owner's file goes last: as long as it is there, nobody takes the id.
    this.discard([...paths, own]);
  }

  /** Becomes the owner of an id. */
  #hold(): File {
    makeIfMissing(this.#files, this.#folder);
    for (let tries = 0; tries < TRIES; tries++) {
      const id = this.#newId();
      const path = `${this.#folder}/${id}`;
      let file: File;
      try {
        file = this.#files.open(path, { write: true, create: "new" });
      } catch (error) {
        if (errnoOfFile(error) !== EEXIST) throw error;
        continue;
      }
      // Before the lock was taken, somebody may have mistaken the file for one of a dead owner.
      if (file.lock("exclusive") && this.#files.status(path) !== undefined) {
        this.#id = id;
        return file;
      }
      file.close();
    }
    throw fileError(`open ${this.#folder}/ID`, EEXIST);
  }
}
