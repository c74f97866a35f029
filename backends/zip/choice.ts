/**
 * What of an archive is served: which member, or all of it as files.
 *
 * @module
 */

import { refusal } from "../backing_file.ts";
import { type Archive, type Member, obstacle } from "./archive.ts";

/** Names of images, whatever else is in the archive. */
const IMAGE_NAME = /\.(img|iso|raw|ima|dsk)$/i;
/** Names of images, of what is alone in its archive. */
const LONE_IMAGE_NAME = /\.(img|iso|raw|ima|dsk|bin|dd|ext[234]|vfat|xfs|btrfs|squashfs)$/i;
/** A file of some other name that is alone, in whole sectors and so large, is hardly a document. */
const LONE_IMAGE_BYTES = 1 << 20;
const SECTOR_BYTES = 512;
/** How many names a message has room for. */
const MENTIONED = 3;

/** What is asked for. */
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
export function chooseImage(archive: Archive, { member, files }: Wish): Member | undefined {
  const all = archive.members.filter(({ isFolder }) => !isFolder);
  if (all.length === 0) {
    throw refusal(archive.path, "there are no files in it", "give an archive that has some");
  }
  if (files) return undefined;
  const image = member === undefined ? onlyImage(archive, all) : named(archive, all, member);
  if (image === undefined) return undefined;
  const what = `${image.name} in ${archive.path}`;
  const problem = obstacle(image);
  if (problem !== undefined) throw refusal(what, problem.reason, problem.hint);
  if (image.bytes === 0) throw refusal(what, "it is empty", "give a member that is a disk image");
  return image;
}

function onlyImage({ path }: Archive, files: readonly Member[]): Member | undefined {
  if (files.length === 1) {
    const [{ name, bytes }] = files;
    const isLarge = bytes >= LONE_IMAGE_BYTES && bytes % SECTOR_BYTES === 0;
    return isLarge || LONE_IMAGE_NAME.test(name) ? files[0] : undefined;
  }
  const images = files.filter(({ name, bytes }) =>
    IMAGE_NAME.test(name) && bytes > 0 && bytes % SECTOR_BYTES === 0
  );
  if (images.length < 2) return images[0];
  const hint = "name one, or have them served as files (--files)";
  throw refusal(path, `it has several disk images: ${mention(images)}`, hint);
}

function named({ path, members }: Archive, files: readonly Member[], name: string): Member {
  const found = files.find((file) => file.name === name);
  if (found !== undefined) return found;
  const folder = name.endsWith("/") ? name : `${name}/`;
  if (members.some((member) => member.name.startsWith(folder))) {
    throw refusal(`${name} in ${path}`, "it is a folder", "name a file that is a disk image");
  }
  const close = [...files].sort((a, b) => distance(name, a.name) - distance(name, b.name));
  throw refusal(path, `there is no ${name} in it`, `it has ${mention(close)}`);
}

function mention(files: readonly Member[]): string {
  const names = files.slice(0, MENTIONED).map(({ name }) => name).join(", ");
  const more = files.length - MENTIONED;
  return more > 0 ? `${names} and ${more} more` : names;
}

/** How many letters must be changed to make one name of the other (Levenshtein), whatever case. */
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
