/**
 * The folders of an archive, derived from the paths of its members.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { NO_TIME } from "./dos_time.ts";
import { resized } from "./columns.ts";
import type { Members } from "./members.ts";
import { folded, pathParts, validName } from "./names.ts";

/** Maximum of folders. A member deep in folders of its own adds many. */
const MAX_FOLDERS = 4_000_000;
/** Maximum of path parts whose numbers are cached. */
const MAX_CACHED_PARTS = 10_000;
/** The parent of the root. */
const NO_FOLDER = 0xffff_ffff;

/** The table of folders. A folder is an index; 0 is the root. */
export class FolderTable {
  /** The parent of each folder. */
  parent: Uint32Array<ArrayBuffer> = new Uint32Array(64);
  /** The modification time of each folder, in FAT's format. */
  time: Uint32Array<ArrayBuffer> = new Uint32Array(64);
  readonly #members: Members;
  /** The member whose path first contained the folder, and its index among the path's parts. */
  #member = new Uint32Array(64);
  #level = new Uint8Array(64);
  #count = 1;
  #index: FolderIndex | undefined = new FolderIndex();
  /** The parts of the last path and their folders: the next path usually starts the same. */
  #lastPath: { readonly parts: string[]; readonly folders: number[] } = { parts: [], folders: [] };
  /** The parts of the path used by the last call of `nameOf`. */
  #lastNamed: { readonly member: number; readonly parts: string[] } | undefined;

  readonly #maxFolders: number;

  /** A table with the root alone, which may grow to `maxFolders`. */
  constructor(members: Members, maxFolders = MAX_FOLDERS) {
    this.#members = members;
    this.#maxFolders = maxFolders;
    this.parent[0] = NO_FOLDER;
    this.time[0] = NO_TIME;
  }

  /** The number of folders. */
  get count(): number {
    return this.#count;
  }

  /**
   * The folder of the first `count` parts of a member's path; added if missing.
   *
   * @throws {UblkError} `INVALID_ARGUMENT` if there would be too many.
   */
  folderAt(parts: string[], count: number, member: number): number {
    const { parts: lastParts, folders } = this.#lastPath;
    let level = 0;
    while (level < count && level < folders.length && parts[level] === lastParts[level]) level++;
    folders.length = level;
    let folder = level === 0 ? 0 : folders[level - 1];
    for (; level < count; level++) {
      folder = this.#find(folder, parts[level], member, level);
      folders.push(folder);
    }
    this.#lastPath = { parts, folders };
    return folder;
  }

  #find(parent: number, part: string, member: number, level: number): number {
    const found = this.#index!.find(parent, part, this.#count);
    if (found < this.#count) return found;
    if (this.#count > this.#maxFolders) {
      throw new UblkError("INVALID_ARGUMENT", {
        operation: "an archive as files",
        reason: `its paths have more than ${this.#maxFolders.toLocaleString("en")} folders`,
        hint: "split the archive, or unpack it",
      });
    }
    if (found >= this.parent.length) {
      this.parent = resized(this.parent, found * 2);
      this.time = resized(this.time, found * 2);
      this.#member = resized(this.#member, found * 2);
      this.#level = resized(this.#level, found * 2);
    }
    this.parent[found] = parent;
    this.time[found] = NO_TIME;
    this.#member[found] = member;
    this.#level[found] = level;
    return this.#count++;
  }

  /** Frees the memory that only {@linkcode folderAt} needs. */
  finish(): void {
    this.#index = undefined;
    this.#lastPath = { parts: [], folders: [] };
    this.parent = resized(this.parent, this.#count);
    this.time = resized(this.time, this.#count);
    this.#member = resized(this.#member, this.#count);
    this.#level = resized(this.#level, this.#count);
  }

  /** The name of a folder, as a valid FAT name. */
  nameOf(folder: number): string {
    const member = this.#member[folder];
    if (this.#lastNamed?.member !== member) {
      this.#lastNamed = { member, parts: pathParts(this.#members.name(member)) };
    }
    return validName(this.#lastNamed.parts[this.#level[folder]]);
  }
}

/** Finds folders by their parents and names. */
class FolderIndex {
  /** Numbers of names, by their case-folded form. */
  readonly #names = new Map<string, number>();
  /** A cache of the same numbers, by parts of paths. */
  readonly #parts = new Map<string, number>();
  /** A hash table of folders: each slot holds a folder plus 1, or 0. */
  #slots = new Uint32Array(256);
  #parent = new Uint32Array(128);
  #name = new Uint32Array(128);

  /** Finds a folder. If there is none, adds it as `next`. */
  find(parent: number, part: string, next: number): number {
    const name = this.#numberOf(part);
    const mask = this.#slots.length - 1;
    let slot = hash(parent, name) & mask;
    for (; this.#slots[slot] !== 0; slot = (slot + 1) & mask) {
      const folder = this.#slots[slot] - 1;
      if (this.#parent[folder] === parent && this.#name[folder] === name) return folder;
    }
    if (next >= this.#parent.length) {
      this.#grow(next);
      return this.find(parent, part, next);
    }
    this.#slots[slot] = next + 1;
    this.#parent[next] = parent;
    this.#name[next] = name;
    return next;
  }

  /** Doubles the table, so that half of the slots stay empty. */
  #grow(count: number): void {
    this.#parent = resized(this.#parent, count * 2);
    this.#name = resized(this.#name, count * 2);
    this.#slots = new Uint32Array(this.#slots.length * 2);
    const mask = this.#slots.length - 1;
    // The root is never looked for.
    for (let folder = 1; folder < count; folder++) {
      let slot = hash(this.#parent[folder], this.#name[folder]) & mask;
      while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
      this.#slots[slot] = folder + 1;
    }
  }

  #numberOf(part: string): number {
    const known = this.#parts.get(part);
    if (known !== undefined) return known;
    const key = folded(validName(part));
    let number = this.#names.get(key);
    if (number === undefined) this.#names.set(key, number = this.#names.size);
    if (this.#parts.size >= MAX_CACHED_PARTS) this.#parts.clear();
    this.#parts.set(part, number);
    return number;
  }
}

function hash(parent: number, name: number): number {
  const mixed = Math.imul(parent, 0x9e3779b1) ^ Math.imul(name + 1, 0x85ebca6b);
  return (mixed ^ mixed >>> 15) >>> 0;
}
