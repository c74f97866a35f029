/**
 * Opens an archive, decides what of it is served, and serves that.
 *
 * @module
 */

import { printable } from "../../uapi/printable.ts";
import type { Backend } from "../../disk/backend.ts";
import { Archive } from "./archive.ts";
import { CacheFile } from "./cache_file.ts";
import { chooseImage } from "./choice.ts";
import { Contents } from "./contents.ts";
import { openImage } from "./image.ts";
import { DEFLATED } from "./members.ts";
import { volumeOf } from "./volume.ts";

/** An archive, the part of it to serve, and how. Plain data: it crosses to a Worker. */
export interface ArchiveWish {
  /** The archive. */
  readonly path: string;
  /** The image in it; without it, the one that is there. */
  readonly member?: string;
  /** All of it as files. */
  readonly files: boolean;
  /** An image of any size is checked before it is served. */
  readonly check: boolean;
  /** The folder of the file that members are inflated to. */
  readonly cache: string;
  /** The encoding of names that are not marked as UTF-8. */
  readonly encoding?: string;
  /** The disk's logical block in bytes. */
  readonly blockSize: number;
  /** The check's progress is written there: bytes done, and of how many. */
  readonly progress?: SharedArrayBuffer;
}

/**
 * Opens it in the thread that serves it.
 *
 * @throws {UblkError} `INVALID_ARGUMENT`, in one line that says what is wrong with it.
 */
export async function openArchive(wish: ArchiveWish): Promise<Backend> {
  const { path, blockSize, check, progress } = wish;
  const archive = await Archive.open(path, wish.encoding);
  let cache: CacheFile | undefined;
  let contents: Contents | undefined;
  const release = async () => {
    await contents?.close();
    cache?.close();
    archive.close();
  };
  try {
    const { members } = archive;
    const image = chooseImage(archive, wish);
    const isInflated = image === undefined
      ? members.method.includes(DEFLATED)
      : members.method[image] === DEFLATED;
    // Made now, and not when a file is read: a folder that is not there is a mistake to be told.
    if (isInflated) cache = CacheFile.make(wish.cache);
    contents = new Contents(archive, cache);
    if (image === undefined) {
      const { backend, warnings } = await volumeOf(archive, contents, blockSize);
      for (const warning of warnings) console.warn(printable(warning));
      return closing(backend, release);
    }
    const onProgress = progress && progressIn(progress, members.bytes[image]);
    const how = { blockSize, check, onProgress };
    return closing(await openImage(archive, image, contents, how), release);
  } catch (error) {
    await release();
    throw error;
  }
}

function progressIn(memory: SharedArrayBuffer, bytes: number): (done: number) => void {
  const words = new Float64Array(memory);
  words[1] = bytes;
  return (done) => words[0] = done;
}

/** The backend, which releases the files that it is made of when it is closed. */
function closing(backend: Backend, release: () => Promise<void>): Backend {
  const close = backend.close?.bind(backend);
  return Object.assign(backend, {
    async close(): Promise<void> {
      try {
        await close?.();
      } finally {
        await release();
      }
    },
  });
}
