/**
 * The folders of a store in files: they are made as needed, and their names are durable before
 * anything in them is said to be.
 *
 * @module
 */

import { errnoOfFile, fileError } from "../files/file_error.ts";
import type { Files } from "../files/port.ts";
import { EEXIST, ENOENT, ENOTDIR } from "../uapi/errno.ts";
import { isName } from "./names.ts";

/** The folders under a root. */
export class Folders {
  readonly #files: Files;
  readonly #root: string;
  /** Folders whose names were made durable here, and those of all folders above. */
  readonly #durable = new Set<string>();

  /** Nothing is touched yet. */
  constructor(files: Files, root: string) {
    this.#files = files;
    this.#root = root;
  }

  /** The path of an object or a folder; "" for the root. */
  pathOf(name: string): string {
    return name === "" ? this.#root : `${this.#root}/${name}`;
  }

  /** The folder that an object is in. */
  folderOf(name: string): string {
    return name.slice(0, Math.max(0, name.lastIndexOf("/")));
  }

  /**
   * Makes a folder and those above, and their names durable.
   *
   * Names of folders that exist are made durable too, once for each: a process that was killed may
   * have made them.
   */
  make(folder: string): void {
    if (folder === "" || this.#durable.has(folder)) return;
    const parent = this.folderOf(folder);
    this.make(parent);
    const path = this.pathOf(folder);
    makeIfMissing(this.#files, path);
    this.#files.syncFolder(this.pathOf(parent));
    this.#durable.add(folder);
  }

  /** Makes the names in a folder durable, and its own. */
  sync(folder: string): void {
    this.make(folder);
    this.#files.syncFolder(this.pathOf(folder));
  }

  /** Makes all names durable. */
  syncAll(folder = ""): void {
    this.sync(folder);
    for (const { name, isFolder } of this.entries(folder)) if (isFolder) this.syncAll(name);
  }

  /** Forgets which folders there are: somebody else has removed one. */
  forget(): void {
    this.#durable.clear();
  }

  /** The objects and folders in a folder. Other files are left out. */
  *entries(folder: string): Generator<{ name: string; isFolder: boolean; size: number }> {
    let names: string[];
    try {
      names = this.#files.list(this.pathOf(folder));
    } catch (error) {
      const errno = errnoOfFile(error);
      if (errno === ENOENT || errno === ENOTDIR) return;
      throw error;
    }
    for (const one of names) {
      const name = folder === "" ? one : `${folder}/${one}`;
      if (!isName(name)) continue;
      // Undefined: somebody has removed it.
      const status = this.#files.status(this.pathOf(name));
      if (status?.kind === "directory") yield { name, isFolder: true, size: 0 };
      if (status?.kind === "file") yield { name, isFolder: false, size: status.bytes };
    }
  }
}

/** Makes a folder if there is none. @returns Whether there was none. */
export function makeIfMissing(files: Files, path: string): boolean {
  try {
    files.makeFolder(path);
    return true;
  } catch (error) {
    if (errnoOfFile(error) !== EEXIST) throw error;
    if (files.status(path)?.kind !== "directory") throw fileError(`mkdir ${path}`, ENOTDIR);
    return false;
  }
}
