/**
 * Opens an archive, decides what of it is served, and serves that.
 *
 * @module
 */

import { printable } from "../../uapi/printable.ts";
import type { Backend } from "../backend.ts";
import { Archive } from "./archive.ts";
import { CacheFile } from "./cache_file.ts";
import { chooseImage } from "./choice.ts";
import { openImage } from "./image.ts";
import { volumeOf } from "./volume.ts";

/** What is to be served of which archive, and how. Plain data: it crosses to a Worker. */
export interface ArchiveWish {
  /** The archive. */
  readonly path: string;
  /** The image in it; without it, the one that is there. */
  readonly member?: string;
  /** All of it as files. */
  readonly files: boolean;
  /** An image of any size is checked before it is served. */
  readonly check: boolean;
  /** The folder for what is inflated. */
  readonly cache: string;
  /** The disk's logical block in bytes. */
  readonly blockSize: number;
  /** Where to write how far the check has come: bytes done, and of how many. */
  readonly progress?: SharedArrayBuffer;
}

/**
 * Opens it in the thread that serves it.
 *
 * @throws {UblkError} `INVALID_ARGUMENT`, in one line that says what is wrong with it.
 */
export async function openArchive(wish: ArchiveWish): Promise<Backend> {
  const { path, blockSize, check, progress } = wish;
  const archive = await Archive.open(path);
  let cache: CacheFile | undefined;
  const release = () => {
    cache?.close();
    archive.close();
  };
  const cacheFile = () => cache ??= CacheFile.make(wish.cache);
  try {
    const image = chooseImage(archive, wish);
    if (image === undefined) {
      const { backend, warnings } = volumeOf(archive, blockSize, cacheFile);
      for (const warning of warnings) console.warn(printable(warning));
      return closing(backend, release);
    }
    const onProgress = progress && progressIn(progress, image.bytes);
    const how = { blockSize, check, onProgress };
    return closing(await openImage(archive, image, cacheFile, how), release);
  } catch (error) {
    release();
    throw error;
  }
}

function progressIn(memory: SharedArrayBuffer, bytes: number): (done: number) => void {
  const words = new Float64Array(memory);
  words[1] = bytes;
  return (done) => words[0] = done;
}

/** The backend, which releases what it is made of when it is closed. */
function closing(backend: Backend, release: () => void): Backend {
  const close = backend.close?.bind(backend);
  return Object.assign(backend, {
    async close(): Promise<void> {
      try {
        await close?.();
      } finally {
        release();
      }
    },
  });
}
