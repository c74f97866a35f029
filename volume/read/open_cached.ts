/**
 * A cache of chunks, put together: lines in memory, and a file that keeps them.
 *
 * @module
 */

import type { EngineMemory } from "../../disk/engine.ts";
import type { File, Files } from "../../files/port.ts";
import { openCacheFile } from "../cache/cache_file.ts";
import type { FetchBoard } from "../cache/fetch_board.ts";
import type { VolumeCounters } from "../counters.ts";
import { pieceBytes } from "../format/compression.ts";
import type { Manifest } from "../format/manifest.ts";
import type { ObjectNames } from "../names.ts";
import { ownerOfChunk } from "../owners.ts";
import type { VolumeKey } from "../seal/volume_key.ts";
import type { CacheSizes } from "../sizes.ts";
import { CachedChunks } from "./cached_chunks.ts";

/** The parts of a cache of chunks. */
export interface OpenCachedParts {
  /** The cache's file; undefined for none. */
  readonly cache: { readonly path: string; readonly size: number } | undefined;
  /** The names of the volume's objects. */
  readonly names: ObjectNames;
  /** Of which copy of the volume it is; undefined for a volume that is no copy. */
  readonly copy: string | undefined;
  /** The manifest that counts. */
  readonly manifest: Manifest;
  /** The epoch of the attachment, or of the volume for a reader. */
  readonly epoch: number;
  /** The files of this machine. */
  readonly files: Files;
  /** The number under which operations know an open file. */
  readonly fdOf: (file: File) => number;
  /** Makes memory that operations can use. */
  readonly allocate: (bytes: number) => EngineMemory & Partial<Disposable>;
  /** Memory for the lines. */
  readonly memory: EngineMemory;
  /** The data key; undefined for a volume that is not encrypted. */
  readonly key: VolumeKey | undefined;
  /** Who fetches. */
  readonly board: FetchBoard;
  /** Makes the fetching side look at the board. */
  readonly asked: () => void;
  /** Sizes. */
  readonly sizes: CacheSizes;
  /** The volume's counters. */
  readonly counters: VolumeCounters;
  /** Takes a line for the log. */
  readonly report: (words: string) => void;
}

/** Opens a cache of chunks. A file that cannot be had is reported, and gone without. */
export function openCachedChunks(parts: OpenCachedParts): CachedChunks {
  const { cache, names, manifest, sizes } = parts;
  const { volume, blockSize } = manifest;
  const { line, writes } = sizes;
  const file = cache === undefined
    ? undefined
    : openCacheFile({ ...parts, ...cache, volume, line, writes });
  const ownerOf = (chunk: number) => ownerOfChunk(names, manifest, chunk);
  const piece = pieceBytes(manifest);
  return new CachedChunks({ ...parts, ownerOf, blockSize, piece, file });
}
