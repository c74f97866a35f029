/**
 * The locations of the bytes of a file or block device. The same bytes may have many names: a file
 * has links, a partition is a part of a disk, and a loop device is a part of a file. That file may
 * in turn be on a disk that the user names as well.
 *
 * Device mapper and md need no handling here. They hold the devices below them with `O_EXCL`, so
 * the kernel keeps others out.
 *
 * @module
 */

import { isUblkError } from "../uapi/error.ts";
import { fileStatus, smallText } from "../uring/file.ts";

/** A range of bytes in a file or device, with an identity that is the same under every name. */
export interface Place {
  /** The identity of the file or device. */
  readonly key: string;
  /** The first byte. */
  readonly start: number;
  /** The byte after the last one; Infinity if the range extends to the end. */
  readonly end: number;
}

const SECTOR_BYTES = 512;

/**
 * All places of the bytes at a path: the file or device itself, and whatever it is a part of. A
 * path where nothing exists yet has one place, so that two files that will be created can be
 * compared. Something that stores no bytes has none.
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
  // 0 means no limit.
  const limit = numberIn(`${folder}/loop/sizelimit`) || Infinity;
  return [own, ...within(placesIfSeen(backing), numberIn(`${folder}/loop/offset`), limit)];
}

/**
 * {@linkcode placesOf} for a file that may be inaccessible: in another user's folder (EACCES), or
 * gone from its server (ESTALE). Such a file is taken for a different one. All loop devices of the
 * machine are compared, and a single inaccessible one used to prevent serving any file.
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

/** Whether the two have bytes in common. */
export function overlap(some: readonly Place[], others: readonly Place[]): boolean {
  return some.some((one) =>
    others.some(({ key, start, end }) => key === one.key && start < one.end && one.start < end)
  );
}

const LOOP_DEVICES = 256;

/**
 * The number of a loop device that uses some of the bytes at a path but is not itself that path.
 */
export function loopOver(path: string): number | undefined {
  const places = placesOf(path);
  for (let loop = 0; loop < LOOP_DEVICES; loop++) {
    const folder = `/sys/block/loop${loop}`;
    if (smallText(`${folder}/loop/backing_file`) === undefined) continue;
    const device = smallText(`${folder}/dev`)?.trim() ?? "";
    // The path is this loop device itself or a partition of it, so sharing bytes is normal.
    if (places.some(({ key }) => key === deviceKey(device))) continue;
    if (overlap(places, placesOfDevice(device))) return loop;
  }
  return undefined;
}
