/**
 * Opens an archive, chooses the part to serve, and serves it.
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

/** An archive, the part to serve, and the options. Plain data, because it is sent to a Worker. */
export interface ArchiveOptions {
  /** The archive's path. */
  readonly path: string;
  /** The image's path in the archive. Default: the only image. */
  readonly member?: string;
  /** Serve the archive as files. */
  readonly files: boolean;
  /** Check an image of any size before it is served. */
  readonly check: boolean;
  /** The folder for the file that members are inflated to. */
  readonly cache: string;
  /** The encoding of names that are not marked as UTF-8. */
  readonly encoding?: string;
  /** The disk's logical block in bytes. */
  readonly blockSize: number;
  /** Receives the progress of the check: bytes done, and bytes in all. */
  readonly progress?: SharedArrayBuffer;
}

/**
 * Opens the archive in the thread that serves it.
 *
 * @throws {UblkError} `INVALID_ARGUMENT`, in one line, if the archive cannot be served.
 */
export async function openArchive(options: ArchiveOptions): Promise<Backend> {
  const { path, blockSize, check, progress } = options;
  const archive = await Archive.open(path, options.encoding);
  let cache: CacheFile | undefined;
  let contents: Contents | undefined;
  const release = async () => {
    await contents?.close();
    cache?.close();
    archive.close();
  };
  try {
    const { members } = archive;
    const image = chooseImage(archive, options);
    const isInflated = image === undefined
      ? members.method.includes(DEFLATED)
      : members.method[image] === DEFLATED;
    // Created now rather than at the first read, so that a missing folder is reported at once.
    if (isInflated) cache = CacheFile.make(options.cache);
    contents = new Contents(archive, cache);
    if (image === undefined) {
      const { backend, warnings } = await volumeOf(archive, contents, blockSize);
      for (const warning of warnings) console.warn(printable(warning));
      return closing(backend, release);
    }
    const onProgress = progress && progressIn(progress, members.bytes[image]);
    const imageOptions = { blockSize, check, onProgress };
    return closing(await openImage(archive, image, contents, imageOptions), release);
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

/** Makes the backend release its files when it is closed. */
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
