/**
 * The choice of what is served: one of an archive's members, or all of it as files.
 *
 * @module
 */

import { refusal } from "../file_checks.ts";
import type { Archive } from "./archive.ts";
import type { Members } from "./members.ts";

/** Names of images, whatever else is in the archive. */
const IMAGE_NAME = /\.(img|iso|raw|ima|dsk)$/i;
/** Names of images, of what is alone in its archive. */
const LONE_IMAGE_NAME = /\.(img|iso|raw|ima|dsk|bin|dd|ext[234]|vfat|xfs|btrfs|squashfs)$/i;
/** A file of some other name that is alone, in whole sectors and so large, is hardly a document. */
const LONE_IMAGE_BYTES = 1 << 20;
const SECTOR_BYTES = 512;
/** The most names in a message. */
const MENTIONED = 3;
/** In an archive of more files no names are looked for that are like one. */
const MOST_COMPARED = 10_000;

/** The part of an archive that is asked for. */
export interface Wish {
  /** The image's name in the archive. */
  readonly member?: string;
  /** The archive as files, whatever is in it. */
  readonly files: boolean;
}

/**
 * The image that is meant: the one that is named, or else the one that is there. Undefined where the
 * archive is to be served as files, since there is none or they are asked for.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` where it is not there, cannot be read, or could be any of
 *   several.
 */
export function chooseImage(archive: Archive, { member, files }: Wish): number | undefined {
  const { path, members } = archive;
  if (filesOf(members).next().done) {
    throw refusal(path, "there are no files in it", "give an archive that has some");
  }
  if (files) return undefined;
  const image = member === undefined ? onlyImage(archive) : named(archive, member);
  if (image === undefined) return undefined;
  const what = `${members.name(image)} in ${path}`;
  const problem = members.obstacle(image);
  if (problem !== undefined) throw refusal(what, problem.reason, problem.hint);
  if (members.bytes[image] === 0) {
    throw refusal(what, "it is empty", "give a member that is a disk image");
  }
  return image;
}

function* filesOf(members: Members): Generator<number> {
  for (let member = 0; member < members.count; member++) {
    if (!members.isFolder(member)) yield member;
  }
}

function onlyImage({ path, members }: Archive): number | undefined {
  const [lone, another] = filesOf(members).take(2);
  if (another === undefined) {
    const bytes = members.bytes[lone];
    const isLarge = bytes >= LONE_IMAGE_BYTES && bytes % SECTOR_BYTES === 0;
    return isLarge || LONE_IMAGE_NAME.test(members.name(lone)) ? lone : undefined;
  }
  const images = filesOf(members).filter((file) => {
    const bytes = members.bytes[file];
    return bytes > 0 && bytes % SECTOR_BYTES === 0 && IMAGE_NAME.test(members.name(file));
  }).toArray();
  if (images.length < 2) return images.at(0);
  const hint = "name one, or have them served as files (--files)";
  throw refusal(path, `it has several disk images: ${mention(members, images)}`, hint);
}

function named({ path, members }: Archive, wanted: string): number {
  // As `unzip -l` shows a name that was made on Windows, too.
  for (const name of [wanted, wanted.replaceAll("\\", "/")]) {
    for (const file of filesOf(members)) if (members.name(file) === name) return file;
  }
  const folder = wanted.endsWith("/") ? wanted : `${wanted}/`;
  for (let member = 0; member < members.count; member++) {
    if (!members.name(member).startsWith(folder)) continue;
    throw refusal(`${wanted} in ${path}`, "it is a folder", "name a file that is a disk image");
  }
  throw refusal(
    path,
    `there is no ${wanted} in it`,
    `it has ${mention(members, closest(members, wanted))}`,
  );
}

/** All files, those first whose names are most like a name, as far as they are mentioned. */
function closest(members: Members, name: string): number[] {
  const files = filesOf(members).toArray();
  // In a large archive that would take minutes, and finds little.
  if (files.length > MOST_COMPARED) return files;
  const distances = new Map(files.map((file) => [file, distance(name, members.name(file))]));
  return files.sort((a, b) => distances.get(a)! - distances.get(b)!);
}

function mention(members: Members, files: readonly number[]): string {
  const names = files.slice(0, MENTIONED).map((file) => members.name(file)).join(", ");
  const more = files.length - MENTIONED;
  return more > 0 ? `${names} and ${more} more` : names;
}

/** The letters to change to make one name of the other (Levenshtein), whatever case. */
function distance(from: string, to: string): number {
  const [a, b] = [from.toLowerCase(), to.toLowerCase()];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, row[j] + 1, next[j - 1] + 1));
    }
    row = next;
  }
  return row[b.length];
}
