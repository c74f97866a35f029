/**
 * Reading of chunks for a volume in a program with an event loop: in place if they are files of this
 * machine, or through a cache, for which the event loop fetches.
 *
 * @module
 */

import type { Files } from "../files/port.ts";
import type { Store } from "../store/store.ts";
import { chunkOpener } from "./attach.ts";
import { Fetches, MACHINE_TIME } from "./cache/fetch.ts";
import { FetchBoard } from "./cache/fetch_board.ts";
import type { VolumeCounters } from "./counters.ts";
import type { FileOperations } from "./file_operations.ts";
import { pieceBytes } from "./format/compression.ts";
import type { Manifest } from "./format/manifest.ts";
import type { ObjectNames } from "./names.ts";
import { ownerOfChunk } from "./owners.ts";
import type { ChunkReads } from "./read/chunk_reads.ts";
import { FileChunks } from "./read/file_chunks.ts";
import { openCachedChunks } from "./read/open_cached.ts";
import { innerOf, keyOf } from "./opened_store.ts";
import { CACHE_SIZES, type EngineSizes } from "./sizes.ts";

/** The parts that reading takes. */
export interface LoopChunksParts {
  /** The store. */
  readonly store: Store;
  /** The names of the volume's objects. */
  readonly names: ObjectNames;
  /** Of which copy of the volume it is; undefined for a volume that is no copy. */
  readonly copy: string | undefined;
  /** The manifest that counts. */
  readonly manifest: Manifest;
  /** The epoch of the attachment, or of the volume for a reader. */
  readonly epoch: number;
  /** The cache's file; undefined for none. */
  readonly cache: { readonly path: string; readonly size: number } | undefined;
  /** The files of this machine. */
  readonly files: Files;
  /** The operations on files. */
  readonly operations: FileOperations;
  /** Sizes. */
  readonly sizes: EngineSizes;
  /** The volume's counters. */
  readonly counters: VolumeCounters;
  /** Something has come: the engine shall look. */
  readonly came: () => void;
  /** Takes a line for the log. */
  readonly report: (words: string) => void;
}

/** A reader of chunks, and how to end its work in the event loop. */
export interface LoopChunks {
  /** The reader. */
  readonly reads: ChunkReads;
  /** Ends what is under way. */
  stop(): void;
}

/** Makes a reader of chunks. */
export function loopChunks(parts: LoopChunksParts): LoopChunks {
  const { store, names, manifest, files, operations, sizes } = parts;
  const { fdOf, allocate } = operations;
  const ownerOf = (chunk: number) => ownerOfChunk(names, manifest, chunk);
  const key = keyOf(store);
  const path = store.localPath?.bind(store);
  if (path !== undefined && parts.cache === undefined) {
    const piece = pieceBytes(manifest);
    const open = chunkOpener({ files, fdOf, ownerOf, pathOf: path, key, piece });
    const packed = piece === 0 ? undefined : { piece, allocate };
    return {
      reads: new FileChunks(open, sizes.openChunks, manifest.blockSize, packed),
      stop() {},
    };
  }
  const cacheSizes = sizes.cache ?? CACHE_SIZES;
  const { line, lines } = cacheSizes;
  const memory = allocate(lines * line);
  const board = new FetchBoard();
  const fetches = new Fetches({
    ...{ board, line, memory: memory.bytes, ownerOf, time: MACHINE_TIME },
    // Lines are as the store has them.
    store: innerOf(store),
    signal: parts.came,
  });
  const reads = openCachedChunks({
    ...{ ...parts, key, fdOf, allocate, memory, board, sizes: cacheSizes },
    // The engine is at work.
    asked: () => queueMicrotask(() => fetches.begin()),
  });
  return { reads, stop: () => fetches.stop() };
}
