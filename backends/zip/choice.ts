/**
 * Chooses what to serve of an archive: one member as an image, or all members as files.
 *
 * @module
 */

import { refusal } from "../../disk/file_checks.ts";
import type { Archive } from "./archive.ts";
import type { Members } from "./members.ts";

/** Names of images in an archive with other files. */
const IMAGE_NAME = /\.(img|iso|raw|ima|dsk)$/i;
/** Names of images in an archive with one file. */
const LONE_IMAGE_NAME = /\.(img|iso|raw|ima|dsk|bin|dd|ext[234]|vfat|xfs|btrfs|squashfs)$/i;
/** Minimum size at which a single file of whole sectors counts as an image, whatever its name. */
const LONE_IMAGE_BYTES = 1 << 20;
const SECTOR_BYTES = 512;
/** Maximum of names in a message. */
const MENTIONED = 3;
/** Maximum of files among which similar names are sought. */
const MOST_COMPARED = 10_000;

/** The requested part of an archive. */
export interface Selection {
  /** The image's name in the archive. */
  readonly member?: string;
  /** Serve the archive as files, whatever it contains. */
  readonly files: boolean;
}

/**
 * The image to serve: the named one, or the only one in the archive. Undefined if the archive is to be
 * served as files, by request or because it contains no image.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if the image is missing, unreadable or ambiguous.
 */
export function chooseImage(archive: Archive, { member, files }: Selection): number | undefined {
  const { path, members } = archive;
  if (filesOf(members).next().done) {
    throw refusal(path, "it contains no files", "give an archive with files");
  }
  if (files) return undefined;
  const image = member === undefined ? soleImage(archive) : imageNamed(archive, member);
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

function soleImage({ path, members }: Archive): number | undefined {
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
  const hint = "name one, or serve the archive as files (--files)";
  throw refusal(path, `it has several disk images: ${mention(members, images)}`, hint);
}

function imageNamed({ path, members }: Archive, wanted: string): number {
  // Also accept a name from Windows as `unzip -l` shows it.
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
    `it contains no ${wanted}`,
    `it has ${mention(members, closest(members, wanted))}`,
  );
}

/** All files, those with the most similar names first. */
function closest(members: Members, name: string): number[] {
  const files = filesOf(members).toArray();
  // In a large archive the comparison would take minutes and find little.
  if (files.length > MOST_COMPARED) return files;
  const distances = new Map(files.map((file) => [file, distance(name, members.name(file))]));
  return files.sort((a, b) => distances.get(a)! - distances.get(b)!);
}

function mention(members: Members, files: readonly number[]): string {
  const names = files.slice(0, MENTIONED).map((file) => members.name(file)).join(", ");
  const more = files.length - MENTIONED;
  return more > 0 ? `${names} and ${more} more` : names;
}

/** The case-insensitive Levenshtein distance of two names. */
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
