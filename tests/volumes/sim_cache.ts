/**
 * A cache of chunks for a simulated server: lines of a few blocks, calls of the store in the order
 * that the world decides, and a file on the machine's disk.
 *
 * @module
 */

import type { Files } from "../../files/port.ts";
import type { Store } from "../../store/store.ts";
import { Fetches, type FetchTime } from "../../volume/cache/fetch.ts";
import { FetchBoard } from "../../volume/cache/fetch_board.ts";
import type { Committed } from "../../volume/committed.ts";
import { ownerOfChunk } from "../../volume/owners.ts";
import { VolumeCounters } from "../../volume/counters.ts";
import type { CachedChunks } from "../../volume/read/cached_chunks.ts";
import { openCachedChunks } from "../../volume/read/open_cached.ts";
import type { CacheSizes } from "../../volume/sizes.ts";
import type { SimHost } from "./sim_host.ts";
import { hasEnded, type World } from "./world.ts";

/** The path of the cache's file. */
export const CACHE = "/cache/v/cache";

/** A cache of a seed. */
export interface SimCacheOptions {
  /** Bytes of the file; 0 for none. */
  readonly bytes: number;
  /** Sizes. */
  readonly sizes: CacheSizes;
}

/** The cache, as a simulated server sees it. */
export interface SimCache {
  /** Reads chunks. */
  readonly chunks: CachedChunks;
  /** Whether something has come since it was asked last. */
  hasCome(): boolean;
}

/** Makes a cache. */
export function simCache(
  world: World,
  { bytes, sizes }: SimCacheOptions,
  parts: {
    readonly files: Files;
    readonly store: Store;
    readonly committed: Committed;
    readonly host: SimHost;
    readonly report: (words: string) => void;
  },
): SimCache {
  const { files, store, committed: { names, manifest, epoch }, host, report } = parts;
  const { fdOf, allocate } = host;
  const { line } = sizes;
  const memory = allocate(sizes.lines * line);
  const board = new FetchBoard();
  let hasCome = false;
  const time: FetchTime = {
    clock: () => 0,
    random: () => 1,
    sleep: () => new Promise<void>((resolve) => void world.paused.push(resolve)),
  };
  const getter = {
    get: async (...call: Parameters<Store["get"]>) => {
      try {
        return await store.get(...call);
      } catch (error) {
        // A process that has ended gets no answer.
        if (hasEnded(error)) await new Promise(() => {});
        throw error;
      }
    },
  };
  const signal = () => void (hasCome = true);
  const ownerOf = (chunk: number) => ownerOfChunk(names, manifest, chunk);
  const fetches = new Fetches({
    ...{ board, line, memory: memory.bytes, ownerOf, time, signal, store: getter },
  });
  const chunks = openCachedChunks({
    ...{ cache: bytes === 0 ? undefined : { path: CACHE, size: bytes }, names, manifest, epoch },
    ...{ files, fdOf, allocate, memory, board, sizes, report, counters: new VolumeCounters() },
    ...{ key: world.dataKey, copy: undefined },
    asked: () => void Promise.resolve().then(() => fetches.begin()),
  });
  return {
    chunks,
    hasCome() {
      const came = hasCome;
      hasCome = false;
      return came;
    },
  };
}
