/**
 * The folders and files of a FAT volume, as columns of numbers: about 30 bytes a folder and 8 bytes a
 * file. Names are not in them: they are taken from the archive's, folder by folder, where they are
 * needed.
 *
 * @module
 */

import { Breaths, OPENING_BREATH_MS } from "./breaths.ts";
import { FolderTable } from "./folder_table.ts";
import type { Members } from "./members.ts";
import { entriesOf, lastPart, pathParts, possibleName, uniqueNames } from "./names.ts";

/** Bytes of the largest file that FAT has. */
export const MAX_FILE_BYTES: number = 2 ** 32 - 1;
/** The most directory entries of a folder. */
const MAX_ENTRIES = 65536;
/** The most parts of a path. */
const MAX_DEPTH = 256;
/** The root's number. */
export const ROOT = 0;
const NOWHERE = 0xffff_ffff;

/** Members that are not in the tree, for the same reason. */
export interface LeftOut {
  /** The name of the first. */
  readonly first: string;
  /** Their number. */
  count: number;
}

/** The contents of a folder: its folders first, then its files. */
export interface Listing {
  /** Numbers of folders. */
  readonly folders: Uint32Array<ArrayBuffer>;
  /** Places of files in {@linkcode Tree.files}: `firstFile` and those behind it. */
  readonly firstFile: number;
  /** Unique long names, as many as the folder has room for. */
  readonly names: readonly string[];
}

/** The tree. A folder is a number, and greater than the one that it is in. */
export class Tree {
  /** The archive's members. */
  readonly members: Members;
  /** Members that are files, grouped by folder. */
  readonly files: Uint32Array<ArrayBuffer>;
  /** Directory entries of each folder, with its `.` and `..` or label; 0 where it has no place. */
  readonly entries: Uint32Array<ArrayBuffer>;
  /** By reason, the members that have no place. */
  readonly leftOut: ReadonlyMap<string, LeftOut>;
  readonly #table: FolderTable;
  /** Folders, grouped by the folder that they are in. */
  readonly #folders: Uint32Array<ArrayBuffer>;
  /** The start of each folder's group. */
  readonly #foldersAt: Uint32Array<ArrayBuffer>;
  readonly #filesAt: Uint32Array<ArrayBuffer>;
  /** By place, 1 for files that their folder has no room for. */
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
   * Makes the tree. Folders whose names differ only by case are one; of files that are called the same,
   * all but the first get a number.
   *
   * @throws {UblkError} `INVALID_ARGUMENT` where there are more folders than can be served.
   */
  static async of(members: Members): Promise<Tree> {
    const breaths = new Breaths(OPENING_BREATH_MS);
    const leftOut = new Map<string, LeftOut>();
    const table = new FolderTable(members);
    const folderOfFile = new Uint32Array(members.count).fill(NOWHERE);
    for (let member = 0; member < members.count; member++) {
      if (breaths.isDue()) await breaths.take();
      const path = members.name(member);
      const parts = pathParts(path);
      if (parts.length > MAX_DEPTH) {
        leave(leftOut, path, `it is more than ${MAX_DEPTH} folders deep`);
      } else if (members.isFolder(member)) {
        const folder = table.folderAt(parts, parts.length, member);
        // Only now: the column may be another one since.
        table.time[folder] = members.dosTime[member];
      } else {
        const reason = reasonAgainst(members, member);
        if (reason !== undefined) leave(leftOut, path, reason);
        else folderOfFile[member] = table.folderAt(parts, Math.max(0, parts.length - 1), member);
      }
    }
    table.finish();
    const tree = new Tree(members, table, folderOfFile, leftOut);
    for (let folder = 0; folder < tree.folderCount; folder++) {
      if (breaths.isDue()) await breaths.take();
      tree.#measure(folder, leftOut);
    }
    return tree;
  }

  /** The number of folders, with the root. */
  get folderCount(): number {
    return this.#table.count;
  }

  /** The folder that a folder is in. */
  parentOf(folder: number): number {
    return this.#table.parent[folder];
  }

  /** Its time of change, as FAT has it. */
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

  /** Bytes of a file by its place in {@linkcode files}; 0 where its folder has no room for it. */
  fileBytes(place: number): number {
    return this.#dropped?.[place] === 1 ? 0 : this.members.bytes[this.files[place]];
  }

  #contentsOf(folder: number) {
    const firstFile = this.#filesAt[folder];
    return {
      folders: this.#folders.subarray(this.#foldersAt[folder], this.#foldersAt[folder + 1]),
      firstFile,
      files: this.files.subarray(firstFile, this.#filesAt[folder + 1]),
    };
  }

  /** The names of all its contents: of those too that it has no room for, since they are taken. */
  #namesIn(folder: number): string[] {
    const { folders, files } = this.#contentsOf(folder);
    const wanted: string[] = [];
    for (const one of folders) wanted.push(this.#table.nameOf(one));
    for (const file of files) wanted.push(possibleName(lastPart(this.members.name(file))));
    return uniqueNames(wanted);
  }

  /** Counts a folder's entries, and takes out of the tree what it has no room for. */
  #measure(folder: number, leftOut: Map<string, LeftOut>): void {
    const isPlaced = this.entries[folder] !== NOWHERE;
    const names = isPlaced ? this.#namesIn(folder) : [];
    const { fits, entries } = isPlaced ? fitting(names, folder) : { fits: 0, entries: 0 };
    this.entries[folder] = entries;
    const { folders, files, firstFile } = this.#contentsOf(folder);
    for (let index = fits; index < folders.length + files.length; index++) {
      if (isPlaced) leave(leftOut, names[index], FULL);
      // A folder in it comes later, and is found to have no place.
      if (index < folders.length) this.entries[folders[index]] = NOWHERE;
      else {(this.#dropped ??= new Uint8Array(this.files.length))[
          firstFile + index - folders.length
        ] = 1;}
    }
  }
}

const FULL = "its folder is full: FAT32 has 65536 entries for it";

function reasonAgainst(members: Members, member: number): string | undefined {
  if (members.bytes[member] > MAX_FILE_BYTES) {
    return "it is larger than a file of FAT32 can be, 4 GiB";
  }
  return members.obstacle(member)?.reason;
}

function leave(leftOut: Map<string, LeftOut>, first: string, reason: string): void {
  const known = leftOut.get(reason);
  if (known === undefined) leftOut.set(reason, { first, count: 1 });
  else known.count++;
}

/** The number of names that a folder has room for, and the entries that those take. */
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
 * Indices by the group that `groupOf` gives each, in their own order within a group, and where each
 * group begins.
 */
function grouped(
  groupOf: Uint32Array<ArrayBuffer>,
  groups: number,
): [Uint32Array<ArrayBuffer>, Uint32Array<ArrayBuffer>] {
  const starts = new Uint32Array(groups + 1);
  for (const group of groupOf) if (group !== NOWHERE) starts[group + 1]++;
  for (let group = 0; group < groups; group++) starts[group + 1] += starts[group];
  const next = starts.slice();
  const indices = new Uint32Array(starts[groups]);
  for (let index = 0; index < groupOf.length; index++) {
    if (groupOf[index] !== NOWHERE) indices[next[groupOf[index]]++] = index;
  }
  return [indices, starts];
}
