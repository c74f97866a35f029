/**
 * Where the bytes of a file or block device are: the same bytes have many names. A file has links,
 * a partition is a part of a disk, and a loop device is a part of a file, which may be on the disk
 * again that somebody gives beside it.
 *
 * Device mapper and md need no word here: they hold the devices below with `O_EXCL`, so the kernel
 * lets nobody else have them.
 *
 * @module
 */

import { isUblkError } from "../uapi/error.ts";
import { fileStatus, smallText } from "../uring/file.ts";

/** A range of bytes of one thing, by an identity that is the same under every name. */
export interface Place {
  /** The thing. */
  readonly key: string;
  /** Its first byte. */
  readonly start: number;
  /** The byte after the last one; Infinity where it goes on to the end. */
  readonly end: number;
}

const SECTOR_BYTES = 512;

/**
 * All places of the bytes at a path: itself, and what it is a part of. One for a path where nothing
 * is yet, so that two files which are to be made can be compared; none for what keeps no bytes.
 */
export function placesOf(path: string): Place[] {
  const status = fileStatus(path);
  if (status === undefined) {
    const [, folder, name] = /^(.*?)([^/]*)$/.exec(path)!;
    const parent = fileStatus(folder === "" ? "." : folder)?.identity ?? folder;
    return [{ key: `${parent}/${name}`, start: 0, end: Infinity }];
  }
  if (status.kind === "block device") return placesOfDevice(status.device);
  return status.kind === "file" ? [{ key: status.identity, start: 0, end: Infinity }] : [];
}

/** All places of the bytes of a block device, by its `major:minor`. */
function placesOfDevice(device: string): Place[] {
  const folder = `/sys/dev/block/${device}`;
  const own: Place = { key: deviceKey(device), start: 0, end: Infinity };
  const disk = smallText(`${folder}/partition`) === undefined
    ? undefined
    : smallText(`${folder}/../dev`)?.trim();
  if (disk !== undefined) {
    const start = numberIn(`${folder}/start`) * SECTOR_BYTES;
    const bytes = numberIn(`${folder}/size`) * SECTOR_BYTES;
    return [own, ...within(placesOfDevice(disk), start, bytes)];
  }
  const backing = smallText(`${folder}/loop/backing_file`)?.trimEnd();
  if (backing === undefined) return [own];
  // 0 is no limit.
  const limit = numberIn(`${folder}/loop/sizelimit`) || Infinity;
  return [own, ...within(placesIfSeen(backing), numberIn(`${folder}/loop/offset`), limit)];
}

/**
 * Those of a file that may be out of sight: in a folder of another user (EACCES), or on a server
 * that does not know it any more (ESTALE). It is taken for another file: all loop devices of the
 * machine are compared, and one such kept every file from being served.
 */
function placesIfSeen(path: string): Place[] {
  try {
    return placesOf(path);
  } catch (error) {
    if (isUblkError(error) && error.code === "SYSCALL_FAILED") return [];
    throw error;
  }
}

/** The key of a block device in a place. */
function deviceKey(device: string): string {
  return `block ${device}`;
}

/** The part of each place from `start` on, `bytes` long. */
function within(places: readonly Place[], start: number, bytes: number): Place[] {
  return places.map((place) => ({
    key: place.key,
    start: place.start + start,
    end: Math.min(place.end, place.start + start + bytes),
  }));
}

function numberIn(path: string): number {
  return Number(smallText(path) ?? 0);
}

/** Whether some bytes are in both. */
export function overlap(some: readonly Place[], others: readonly Place[]): boolean {
  return some.some((one) =>
    others.some(({ key, start, end }) => key === one.key && start < one.end && one.start < end)
  );
}

const LOOP_DEVICES = 256;

/** The number of a loop device over some of the bytes at a path, and not itself at that path. */
export function loopOver(path: string): number | undefined {
  const places = placesOf(path);
  for (let loop = 0; loop < LOOP_DEVICES; loop++) {
    const folder = `/sys/block/loop${loop}`;
    if (smallText(`${folder}/loop/backing_file`) === undefined) continue;
    const device = smallText(`${folder}/dev`)?.trim() ?? "";
    // That loop device itself, or a partition of it, is at the path: all others have a part in it.
    if (places.some(({ key }) => key === deviceKey(device))) continue;
    if (overlap(places, placesOfDevice(device))) return loop;
  }
  return undefined;
}
