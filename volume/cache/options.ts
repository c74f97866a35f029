/**
 * Checks how a cache is asked for.
 *
 * @module
 */

import type { Size } from "../../disk/geometry.ts";
import { formatSize, parseSize } from "../../disk/size.ts";
import { invalidIn, thrownText } from "../../uapi/error.ts";

/** The smallest cache in bytes. */
export const LEAST_CACHE_BYTES: number = 1 << 20;

/** How a cache is asked for. */
export interface CacheOptions {
  /** Most bytes of its file. */
  readonly cache?: Size;
  /** The folder of caches. */
  readonly cacheDir?: string;
  /** The folder of journals, which is the default. */
  readonly journal?: string;
}

/** A cache's file. */
export interface CachePlace {
  /** Its path. */
  readonly path: string;
  /** Most bytes. */
  readonly size: number;
}

/** The path of a volume's cache in a folder of caches. */
export function cachePath(folder: string, name: string): string {
  return `${folder.replace(/(?<=.)\/+$/, "")}/${name}/cache`;
}

/** Checks a cache's size and place; undefined for none. @throws {UblkError} `INVALID_ARGUMENT` */
export function checkedCache(
  name: string,
  { cache, cacheDir, journal }: CacheOptions,
): CachePlace | undefined {
  const invalid = invalidIn(`the cache of ${name}`);
  if (cache === undefined) {
    if (cacheDir === undefined) return undefined;
    throw invalid("it has a folder and no size", "give its size too, such as 10G");
  }
  let size: number;
  try {
    size = typeof cache === "string" ? parseSize(cache) : cache;
  } catch (error) {
    throw invalid(thrownText(error), "give a size such as 10G", { cause: error });
  }
  if (!Number.isSafeInteger(size) || size < LEAST_CACHE_BYTES) {
    throw invalid(`it cannot have ${cache} bytes`, `give ${formatSize(LEAST_CACHE_BYTES)} or more`);
  }
  const folder = cacheDir ?? journal;
  if (folder === undefined) {
    throw invalid("it has no folder", "give a folder for caches, or one for journals");
  }
  return { path: cachePath(folder, name), size };
}
