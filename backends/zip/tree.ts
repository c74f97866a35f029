/**
 * The folders and files of a FAT volume as columns of numbers: about 30 bytes a folder and 8 bytes a
 * file. Names are not stored here but derived from the archive's names, folder by folder, when they
 * are needed.
 *
 * @module
 */

import { OPENING_PAUSE_EVERY_MS, Pauses } from "./pauses.ts";
import { FolderTable } from "./folder_table.ts";
import type { Members } from "./members.ts";
import { entriesOf, lastPart, pathParts, uniqueNames, validName } from "./names.ts";

/** Maximum size of a file in FAT32, in bytes. */
export const MAX_FILE_BYTES: number = 2 ** 32 - 1;
/** Maximum of directory entries of a folder. */
const MAX_ENTRIES = 65536;
/** Maximum of parts of a path. */
const MAX_DEPTH = 256;
/** The number of the root folder. */
export const ROOT = 0;
/** Marks a file or folder that is not in the tree. */
const NONE = 0xffff_ffff;

/** Members left out of the tree for the same reason. */
export interface LeftOut {
  /** The name of the first one. */
  readonly first: string;
  /** The number of members. */
  count: number;
}

/** The contents of a folder: its folders first, then its files. */
export interface Listing {
  /** Numbers of folders. */
  readonly folders: Uint32Array<ArrayBuffer>;
  /** Index in {@linkcode Tree.files} of the first file; the others follow it. */
  readonly firstFile: number;
  /** Unique long names of the folders and files that the folder has room for. */
  readonly names: readonly string[];
}

/** The tree. A folder is a number, greater than that of its parent. */
export class Tree {
  /** The archive's members. */
  readonly members: Members;
  /** Members that are files, grouped by folder. */
  readonly files: Uint32Array<ArrayBuffer>;
  /** Directory entries of each folder, including `.` and `..` or the label; 0 if it is left out. */
  readonly entries: Uint32Array<ArrayBuffer>;
  /** Members left out, by reason. */
  readonly leftOut: ReadonlyMap<string, LeftOut>;
  readonly #table: FolderTable;
  /** Folders, grouped by parent. */
  readonly #folders: Uint32Array<ArrayBuffer>;
  /** The start of each folder's group. */
  readonly #foldersAt: Uint32Array<ArrayBuffer>;
  readonly #filesAt: Uint32Array<ArrayBuffer>;
  /** By file index, 1 for files that do not fit into their folder. */
  #dropped: Uint8Array<ArrayBuffer> | undefined;

  private constructor(
    members: Members,
    table: FolderTable,
    folderOfFile: Uint32Array<ArrayBuffer>,
    leftOut: Map<string, LeftOut>,
  ) {
    const count = table.count;
    this.members = members;
    this.leftOut = leftOut;
    this.#table = table;
    [this.#folders, this.#foldersAt] = grouped(table.parent.subarray(0, count), count);
    [this.files, this.#filesAt] = grouped(folderOfFile, count);
    this.entries = new Uint32Array(count);
  }

  /**
   * Builds the tree. Folders whose names differ only in case are merged. Of files with equal names, all
   * but the first get a number.
   *
   * @throws {UblkError} `INVALID_ARGUMENT` if there are too many folders.
   */
  static async of(members: Members): Promise<Tree> {
    const pauses = new Pauses(OPENING_PAUSE_EVERY_MS);
    const leftOut = new Map<string, LeftOut>();
    const table = new FolderTable(members);
    const folderOfFile = new Uint32Array(members.count).fill(NONE);
    for (let member = 0; member < members.count; member++) {
      if (pauses.isDue()) await pauses.take();
      const path = members.name(member);
      const parts = pathParts(path);
      if (parts.length > MAX_DEPTH) {
        leaveOut(leftOut, path, `it is more than ${MAX_DEPTH} folders deep`);
      } else if (members.isFolder(member)) {
        const folder = table.folderAt(parts, parts.length, member);
        // Read `table.time` after `folderAt`, which may replace the column.
        table.time[folder] = members.dosTime[member];
      } else {
        const reason = reasonAgainst(members, member);
        if (reason !== undefined) leaveOut(leftOut, path, reason);
        else folderOfFile[member] = table.folderAt(parts, Math.max(0, parts.length - 1), member);
      }
    }
    table.finish();
    const tree = new Tree(members, table, folderOfFile, leftOut);
    for (let folder = 0; folder < tree.folderCount; folder++) {
      if (pauses.isDue()) await pauses.take();
      tree.#measure(folder, leftOut);
    }
    return tree;
  }

  /** The number of folders, including the root. */
  get folderCount(): number {
    return this.#table.count;
  }

  /** The parent of a folder. */
  parentOf(folder: number): number {
    return this.#table.parent[folder];
  }

  /** The modification time of a folder, in FAT's format. */
  timeOf(folder: number): number {
    return this.#table.time[folder];
  }

  /** The folders and files that a folder has room for, with their names. */
  list(folder: number): Listing {
    const { folders, firstFile } = this.#contentsOf(folder);
    const names = this.#namesIn(folder);
    const { fits } = fitting(names, folder);
    return { folders: folders.subarray(0, fits), firstFile, names: names.slice(0, fits) };
  }

  /** Bytes of a file by its index in {@linkcode files}; 0 if it does not fit into its folder. */
  fileBytes(fileIndex: number): number {
    return this.#dropped?.[fileIndex] === 1 ? 0 : this.members.bytes[this.files[fileIndex]];
  }

  #contentsOf(folder: number) {
    const firstFile = this.#filesAt[folder];
    return {
      folders: this.#folders.subarray(this.#foldersAt[folder], this.#foldersAt[folder + 1]),
      firstFile,
      files: this.files.subarray(firstFile, this.#filesAt[folder + 1]),
    };
  }

  /** The names of all contents, including those that do not fit, because their names are taken. */
  #namesIn(folder: number): string[] {
    const { folders, files } = this.#contentsOf(folder);
    const wanted: string[] = [];
    for (const one of folders) wanted.push(this.#table.nameOf(one));
    for (const file of files) wanted.push(validName(lastPart(this.members.name(file))));
    return uniqueNames(wanted);
  }

  /** Counts a folder's entries, and removes from the tree what does not fit. */
  #measure(folder: number, leftOut: Map<string, LeftOut>): void {
    const isIncluded = this.entries[folder] !== NONE;
    const names = isIncluded ? this.#namesIn(folder) : [];
    const { fits, entries } = isIncluded ? fitting(names, folder) : { fits: 0, entries: 0 };
    this.entries[folder] = entries;
    const { folders, files, firstFile } = this.#contentsOf(folder);
    for (let index = fits; index < folders.length + files.length; index++) {
      if (isIncluded) leaveOut(leftOut, names[index], FULL);
      // A subfolder is measured later, and then finds itself marked.
      if (index < folders.length) this.entries[folders[index]] = NONE;
      else {(this.#dropped ??= new Uint8Array(this.files.length))[
          firstFile + index - folders.length
        ] = 1;}
    }
  }
}

const FULL = "its folder is full: FAT32 allows 65536 entries";

function reasonAgainst(members: Members, member: number): string | undefined {
  if (members.bytes[member] > MAX_FILE_BYTES) {
    return "it is larger than 4 GiB, the maximum of FAT32";
  }
  return members.obstacle(member)?.reason;
}

function leaveOut(leftOut: Map<string, LeftOut>, first: string, reason: string): void {
  const known = leftOut.get(reason);
  if (known === undefined) leftOut.set(reason, { first, count: 1 });
  else known.count++;
}

/** The number of names that fit into a folder, and the entries that they take. */
function fitting(names: readonly string[], folder: number): { fits: number; entries: number } {
  // `.` and `..`, or the label.
  let entries = folder === ROOT ? 1 : 2;
  for (const [index, name] of names.entries()) {
    const more = entriesOf(name);
    if (entries + more > MAX_ENTRIES) return { fits: index, entries };
    entries += more;
  }
  return { fits: names.length, entries };
}

/**
 * Indices sorted by the group that `groupOf` assigns, stable within a group, and the start of each
 * group.
 */
function grouped(
  groupOf: Uint32Array<ArrayBuffer>,
  groups: number,
): [Uint32Array<ArrayBuffer>, Uint32Array<ArrayBuffer>] {
  const starts = new Uint32Array(groups + 1);
  for (const group of groupOf) if (group !== NONE) starts[group + 1]++;
  for (let group = 0; group < groups; group++) starts[group + 1] += starts[group];
  const next = starts.slice();
  const indices = new Uint32Array(starts[groups]);
  for (let index = 0; index < groupOf.length; index++) {
    if (groupOf[index] !== NONE) indices[next[groupOf[index]]++] = index;
  }
  return [indices, starts];
}
