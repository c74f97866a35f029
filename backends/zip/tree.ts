/**
 * What is in an archive as the folders and files of a FAT volume.
 *
 * @module
 */

import type { Member } from "./archive.ts";
import { obstacle } from "./archive.ts";
import { entriesOf, type FatName, folded, namesOf, pathParts } from "./names.ts";

/** Bytes of the largest file that FAT has. */
export const MAX_FILE_BYTES: number = 2 ** 32 - 1;
/** The most directory entries of a folder. */
const MAX_ENTRIES = 65536;
/** The most parts of a path. */
const MAX_DEPTH = 256;
/** 1 January 1980, midnight: of what has no time. */
const NO_TIME = 0x0021_0000;

/** A file in a folder. */
export interface FileNode {
  /** What it is called there. */
  readonly name: FatName;
  /** What it has. */
  readonly member: Member;
  /** When it was changed, as in `Member.dosTime`. */
  readonly dosTime: number;
}

/** A folder. */
export interface FolderNode {
  /** What it is called; of the root, nothing that counts. */
  readonly name: FatName;
  /** When it was changed. */
  readonly dosTime: number;
  /** Where it is; undefined for the root. */
  readonly parent: FolderNode | undefined;
  /** The folders in it. */
  readonly folders: readonly FolderNode[];
  /** The files in it. */
  readonly files: readonly FileNode[];
}

/** A tree, and what there is no place for in it. */
export interface Tree {
  /** Everything. */
  readonly root: FolderNode;
  /** The reasons why some members are not in it, each with the members' names. */
  readonly leftOut: ReadonlyMap<string, readonly string[]>;
}

/** A folder that is being filled. */
interface Draft {
  readonly name: string;
  dosTime: number;
  /** By folded name. */
  readonly folders: Map<string, Draft>;
  readonly files: { readonly name: string; readonly member: Member }[];
}

/**
 * Makes the tree. Folders whose names differ only by case are one; of files that are called the same,
 * all but the first get a number.
 */
export function treeOf(members: readonly Member[]): Tree {
  const leftOut = new Map<string, string[]>();
  const leave = (name: string, reason: string) => {
    if (!leftOut.has(reason)) leftOut.set(reason, []);
    leftOut.get(reason)!.push(name);
  };
  const root = draft("");
  for (const member of members) {
    const parts = pathParts(member.name);
    if (parts.length > MAX_DEPTH) {
      leave(member.name, `it is more than ${MAX_DEPTH} folders deep`);
      continue;
    }
    if (member.isFolder) {
      folderAt(root, parts).dosTime = timeOf(member);
      continue;
    }
    const name = parts.pop() ?? "_";
    const reason = obstacle(member)?.reason ??
      (member.bytes > MAX_FILE_BYTES
        ? "it is larger than a file of FAT32 can be, 4 GiB"
        : undefined);
    if (reason !== undefined) leave(member.name, reason);
    else folderAt(root, parts).files.push({ name, member });
  }
  return { root: finish(root, namesOf(["_"])[0], undefined, leave), leftOut };
}

function draft(name: string): Draft {
  return { name, dosTime: NO_TIME, folders: new Map(), files: [] };
}

function folderAt(root: Draft, parts: readonly string[]): Draft {
  let folder = root;
  for (const part of parts) {
    const key = folded(part);
    let next = folder.folders.get(key);
    if (next === undefined) folder.folders.set(key, next = draft(part));
    folder = next;
  }
  return folder;
}

function timeOf({ dosTime }: Member): number {
  // Neither a day nor a month of 0 is a date.
  const day = dosTime >>> 16 & 31;
  const month = dosTime >>> 21 & 15;
  return day === 0 || month === 0 || month > 12 ? NO_TIME : dosTime;
}

function finish(
  { folders, files, dosTime }: Draft,
  name: FatName,
  parent: FolderNode | undefined,
  leave: (name: string, reason: string) => void,
): FolderNode {
  const drafts = [...folders.values()];
  const names = namesOf([...drafts, ...files].map(({ name }) => name));
  const node = {
    ...{ name, dosTime, parent },
    folders: [] as FolderNode[],
    files: [] as FileNode[],
  };
  // `.` and `..`, or the label.
  let entries = 2;
  for (const [index, found] of names.entries()) {
    entries += entriesOf(found);
    const file = files[index - drafts.length];
    if (entries > MAX_ENTRIES) {
      const what = file?.member.name ?? drafts[index].name;
      leave(what, "its folder is full: FAT32 has 65536 entries for it");
    } else if (file === undefined) {
      node.folders.push(finish(drafts[index], found, node, leave));
    } else {
      node.files.push({ name: found, member: file.member, dosTime: timeOf(file.member) });
    }
  }
  return node;
}

/** Directory entries that a folder has. */
export function entriesIn({ folders, files, parent }: FolderNode): number {
  const names = [...folders, ...files].map(({ name }) => entriesOf(name));
  return names.reduce((sum, count) => sum + count, parent === undefined ? 1 : 2);
}
