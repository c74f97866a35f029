/**
 * Removes the file of a cache that nobody needs any more.
 *
 * Once, nothing did. A file takes all the room of its cache when it is made, and so those of volumes
 * that were removed, or that had left the machine, filled its disk: the next journal found no room.
 *
 * @module
 */

import type { File, Files } from "../../files/port.ts";
import { readUpTo } from "../../files/whole.ts";
import { CACHE_PAGE, type CacheHeader, decodeCacheHeader } from "../format/cache.ts";
import { FormatError } from "../format/record.ts";

/** The volume that a cache is of. */
export type CacheOwner = Pick<CacheHeader, "volume" | "copy">;

/**
 * Removes a cache's file, unless somebody uses it. Who opens it at this moment goes on without a cache,
 * or has one that is gone with him.
 *
 * @param owner Spare it if it is another volume's. Default: it may be any volume's.
 * @returns Whether there was one that is gone.
 */
export function removeCache(files: Files, path: string, owner?: CacheOwner): boolean {
  if (files.status(path)?.kind !== "file") return false;
  using file = files.open(path, { write: true });
  if (!file.lock("exclusive")) return false;
  // One that is damaged, or was never finished, is nobody's.
  const found = owner && ownerIn(file);
  const isOthers = found !== undefined &&
    (found.volume !== owner!.volume || found.copy !== owner!.copy);
  if (isOthers) return false;
  files.remove(path);
  return true;
}

/** The volume that a file is a cache of; undefined if it is none, or damaged, or not there. */
export function cacheOwner(files: Files, path: string): CacheOwner | undefined {
  if (files.status(path)?.kind !== "file") return undefined;
  using file = files.open(path);
  return ownerIn(file);
}

function ownerIn(file: File): CacheOwner | undefined {
  const bytes = new Uint8Array(CACHE_PAGE);
  if (readUpTo(file, bytes, 0) < CACHE_PAGE) return undefined;
  try {
    return decodeCacheHeader(bytes);
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}
