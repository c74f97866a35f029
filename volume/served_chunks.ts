/**
 * Reading of chunks for a thread that serves a disk: in place if they are files of this machine, or
 * through a cache, for which a thread of its own fetches.
 *
 * @module
 */

import type { EngineMemory } from "../disk/engine.ts";
import { engineMemory } from "../disk/engine_memory.ts";
import type { File } from "../files/port.ts";
import { type RealFile, realFiles } from "../files/real.ts";
import { chunkOpener } from "./attach.ts";
import { FetchBoard } from "./cache/fetch_board.ts";
import { Fetcher } from "./cache/fetcher.ts";
import type { FetchJob } from "./cache/messages.ts";
import type { CachePlace } from "./cache/options.ts";
import type { VolumeCounters } from "./counters.ts";
import { pieceBytes } from "./format/compression.ts";
import type { Manifest } from "./format/manifest.ts";
import { ObjectNames } from "./names.ts";
import { ownerOfChunk } from "./owners.ts";
import type { CachedChunks } from "./read/cached_chunks.ts";
import type { ChunkReads } from "./read/chunk_reads.ts";
import { FileChunks } from "./read/file_chunks.ts";
import { openCachedChunks } from "./read/open_cached.ts";
import type { VolumeKey } from "./seal/volume_key.ts";
import { CACHE_SIZES, ENGINE_SIZES } from "./sizes.ts";

/** The parts that reading takes. */
export interface ServedChunksParts {
  /** The volume's name. */
  readonly name: string;
  /** The URL or the folder of the store. */
  readonly store: string;
  /** The folder in which the store's objects are files, with a slash; undefined if they are none. */
  readonly objects: string | undefined;
  /** The cache's file; undefined for none. */
  readonly cache: CachePlace | undefined;
  /** Of which copy of the volume it is; undefined for a volume that is no copy. */
  readonly copy: string | undefined;
  /** The manifest that counts. */
  readonly manifest: Manifest;
  /** The data key; undefined for a volume that is not encrypted. */
  readonly key: VolumeKey | undefined;
  /** The epoch of the attachment, or of the volume for a reader. */
  readonly epoch: number;
  /** The eventfd that wakes the engine. */
  readonly wakeFd: number;
  /** How long a reader waits for the store, in microseconds. */
  readonly waitUs: number;
  /** The volume's counters. */
  readonly counters: VolumeCounters;
  /** Takes a line for the log. */
  readonly report: (words: string) => void;
  /** Takes what is to be closed. */
  readonly stack: AsyncDisposableStack;
}

const fdOf = (file: File): number => (file as RealFile).fd;

/** Makes a reader of chunks. @throws {UblkError} If the fetching thread cannot open the store. */
export async function servedChunks(parts: ServedChunksParts): Promise<ChunkReads> {
  const { name, objects, cache, key, manifest, stack } = parts;
  if (objects === undefined || cache !== undefined) return await cachedChunks(parts);
  const names = new ObjectNames(name);
  const piece = pieceBytes(manifest);
  const open = chunkOpener({
    ...{ files: realFiles, fdOf, key, piece, pathOf: (object) => `${objects}${object}` },
    ownerOf: (chunk) => ownerOfChunk(names, manifest, chunk),
  });
  const packed = piece === 0 ? undefined : {
    piece,
    allocate: (bytes: number) => {
      const memory = engineMemory(bytes);
      // Memory that the kernel has not let go of may still be written to.
      stack.defer(() => chunks.isIdle ? memory[Symbol.dispose]() : undefined);
      return memory;
    },
  };
  const chunks = new FileChunks(open, ENGINE_SIZES.openChunks, manifest.blockSize, packed);
  return chunks;
}

/** Chunks that are fetched by a thread of their own. */
async function cachedChunks(parts: ServedChunksParts): Promise<ChunkReads> {
  const { name, store, manifest, wakeFd, waitUs, stack } = parts;
  const { line, lines } = CACHE_SIZES;
  const memory = engineMemory(lines * line);
  let chunks: CachedChunks | undefined = undefined;
  // Memory that the kernel has not let go of may still be written to.
  stack.defer(() => chunks?.isIdle === false ? undefined : memory[Symbol.dispose]());
  const board = new FetchBoard();
  const { volume, ancestors } = manifest;
  const job = {
    ...{ store, name, volume, ancestors, memory: placeOfMemory(memory), line, wakeFd },
  };
  const fetcher = stack.use(await Fetcher.start(board, job));
  return chunks = openCachedChunks({
    ...{
      ...parts,
      names: new ObjectNames(name),
      files: realFiles,
      fdOf,
      allocate: engineMemory,
      memory,
      board,
    },
    ...{ sizes: { ...CACHE_SIZES, waitUs }, asked: () => fetcher.look() },
  });
}

function placeOfMemory({ address, bytes }: EngineMemory): FetchJob["memory"] {
  return { address, bytes: bytes.length };
}
