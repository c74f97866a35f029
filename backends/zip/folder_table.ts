/**
 * The folders of an archive, found by the paths of its members.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { NO_TIME } from "./dos_time.ts";
import { grown } from "./columns.ts";
import type { Members } from "./members.ts";
import { folded, pathParts, possibleName } from "./names.ts";

/** The most folders. Members far down in folders of their own have many each. */
const MAX_FOLDERS = 4_000_000;
/** Parts of paths whose keys are remembered. */
const REMEMBERED = 10_000;
/** The root is in no folder. */
const NO_FOLDER = 0xffff_ffff;

/** The table. A folder is its index, and 0 the root. */
export class FolderTable {
  /** The folder that each is in. */
  parent: Uint32Array<ArrayBuffer> = new Uint32Array(64);
  /** The time of change of each, as FAT has it. */
  time: Uint32Array<ArrayBuffer> = new Uint32Array(64);
  readonly #members: Members;
  /** The member whose path first had it, and which part of that path it is. */
  #member = new Uint32Array(64);
  #level = new Uint8Array(64);
  #count = 1;
  #search: Search | undefined = new Search();
  /** The parts of the last path and the folders they are: the next path mostly begins alike. */
  #last: { readonly parts: string[]; readonly folders: number[] } = { parts: [], folders: [] };
  /** The parts of the member whose folder was named last. */
  #named: { readonly member: number; readonly parts: string[] } | undefined;

  readonly #most: number;

  /** The root alone; `most` folders are the most. */
  constructor(members: Members, most = MAX_FOLDERS) {
    this.#members = members;
    this.#most = most;
    this.parent[0] = NO_FOLDER;
    this.time[0] = NO_TIME;
  }

  /** The number of folders. */
  get count(): number {
    return this.#count;
  }

  /**
   * The folder of the first parts of a member's path; it is made where it is not there.
   *
   * @throws {UblkError} `INVALID_ARGUMENT` where there would be too many.
   */
  folderAt(parts: string[], count: number, member: number): number {
    const { parts: lastParts, folders } = this.#last;
    let level = 0;
    while (level < count && level < folders.length && parts[level] === lastParts[level]) level++;
    folders.length = level;
    let folder = level === 0 ? 0 : folders[level - 1];
    for (; level < count; level++) {
      folder = this.#find(folder, parts[level], member, level);
      folders.push(folder);
    }
    this.#last = { parts, folders };
    return folder;
  }

  #find(parent: number, part: string, member: number, level: number): number {
    const found = this.#search!.find(parent, part, this.#count);
    if (found < this.#count) return found;
    if (this.#count > this.#most) {
      throw new UblkError("INVALID_ARGUMENT", {
        operation: "an archive as files",
        reason: `its paths have more than ${this.#most.toLocaleString("en")} folders`,
        hint: "split the archive, or unpack it",
      });
    }
    if (found >= this.parent.length) {
      this.parent = grown(this.parent, found * 2);
      this.time = grown(this.time, found * 2);
      this.#member = grown(this.#member, found * 2);
      this.#level = grown(this.#level, found * 2);
    }
    this.parent[found] = parent;
    this.time[found] = NO_TIME;
    this.#member[found] = member;
    this.#level[found] = level;
    return this.#count++;
  }

  /** Lets go of what only {@linkcode folderAt} needs. */
  finish(): void {
    this.#search = undefined;
    this.#last = { parts: [], folders: [] };
    this.parent = grown(this.parent, this.#count);
    this.time = grown(this.time, this.#count);
    this.#member = grown(this.#member, this.#count);
    this.#level = grown(this.#level, this.#count);
  }

  /** The name of a folder, as FAT can have it. */
  nameOf(folder: number): string {
    const member = this.#member[folder];
    if (this.#named?.member !== member) {
      this.#named = { member, parts: pathParts(this.#members.name(member)) };
    }
    return possibleName(this.#named.parts[this.#level[folder]]);
  }
}

/** Finds folders by their parents and names. */
class Search {
  /** Numbers of names, by what FAT compares of them. */
  readonly #names = new Map<string, number>();
  /** The same by parts of paths, for as many as are remembered. */
  readonly #parts = new Map<string, number>();
  /** A hash table of folders: each slot is a folder and 1, or 0. */
  #slots = new Uint32Array(256);
  #parent = new Uint32Array(128);
  #name = new Uint32Array(128);

  /** The folder, or `next` where there is none, which is known as that from now on. */
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

  /** Half of the slots stay empty. */
  #grow(count: number): void {
    this.#parent = grown(this.#parent, count * 2);
    this.#name = grown(this.#name, count * 2);
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
    const key = folded(possibleName(part));
    let number = this.#names.get(key);
    if (number === undefined) this.#names.set(key, number = this.#names.size);
    if (this.#parts.size >= REMEMBERED) this.#parts.clear();
    this.#parts.set(part, number);
    return number;
  }
}

function hash(parent: number, name: number): number {
  const mixed = Math.imul(parent, 0x9e3779b1) ^ Math.imul(name + 1, 0x85ebca6b);
  return (mixed ^ mixed >>> 15) >>> 0;
}
