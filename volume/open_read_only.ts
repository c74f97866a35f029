/**
 * Opens a volume as a disk that is only read: as its store has it, beside whoever writes to it.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import { openStore } from "../store/open.ts";
import { closeFd, eventFd } from "../uring/libc.ts";
import { forbidCoreFiles } from "../uring/process.ts";
import { loadMaps } from "./attach.ts";
import type { CachePlace } from "./cache/options.ts";
import { catalogOf } from "./catalog.ts";
import { VolumeCounters } from "./counters.ts";
import { NO_UUID } from "./format/record.ts";
import { extentOf } from "./extents.ts";
import { VolumeMethods } from "./methods.ts";
import { hostName } from "./host_name.ts";
import { ObjectNames, referenceOf } from "./names.ts";
import { ReadOnlyEngine } from "./read_only.ts";
import type { VolumeKeyFile } from "./seal/key_source.ts";
import { keyOf } from "./opened_store.ts";
import { unlocked } from "./seal/unlock.ts";
import { servedChunks } from "./served_chunks.ts";
import { keptState, unkeptWords } from "./snapshots.ts";
import { storeFailure } from "./store_like.ts";
import { waitForSnapshot } from "./wait_for_snapshot.ts";

/** The options of a volume's disk that matter to a reader. */
export interface ReadOnlyDisk {
  /** The volume's name, or `NAME@SNAPSHOT`. */
  readonly name: string;
  /** The URL or the folder of the store. */
  readonly store: string;
  /** The folder of journals, for a snapshot that was just taken on this machine. */
  readonly journal: string;
  /** The cache's file; undefined for none. */
  readonly cache?: CachePlace;
  /** The key of an encrypted volume; undefined for none. */
  readonly key?: VolumeKeyFile;
}

/**
 * Opens a volume or a snapshot for reading. It stays as the store has it at this moment, for a day at
 * least.
 *
 * @param waitUs How long a read waits for the store, in microseconds.
 * @throws {UblkError} `VOLUME_NOT_FOUND`, `VOLUME_DAMAGED`, `VOLUME_STORE`.
 */
export async function openReadOnly(options: ReadOnlyDisk, waitUs: number): Promise<Backend> {
  try {
    return await open(options, waitUs);
  } catch (error) {
    throw storeFailure(error);
  }
}

async function open(
  { name, store: url, journal, cache, key }: ReadOnlyDisk,
  waitUs: number,
): Promise<Backend> {
  await using stack = new AsyncDisposableStack();
  const locked = stack.use(await openStore(url));
  const reference = referenceOf(name);
  if (key !== undefined) forbidCoreFiles();
  const store = await unlocked(locked, reference.volume, key);
  const names = new ObjectNames(reference.volume);
  await waitForSnapshot(store, name, { journal });
  const kept = await keptState(store, reference, `process ${Deno.pid} of ${hostName()}`);
  stack.defer(() => kept.release());
  const { head, manifest } = kept;
  const { copy } = await catalogOf(store, names, manifest.volume);
  const maps = await loadMaps({ store, names, manifest });
  const report = (words: string) => console.error(words);
  const warnings = head.journal === NO_UUID || reference.snapshot !== undefined ? [] : [
    `volume ${name} is read as its store had it at ${new Date(manifest.time).toISOString()}: ` +
    `${head.host || "somebody"} has it attached, and may have written more since`,
  ];
  if (kept.unkept !== undefined) warnings.push(unkeptWords(name, kept.unkept));
  const { blockSize, size } = manifest;
  const counters = new VolumeCounters();
  const wakeFd = eventFd();
  stack.defer(() => closeFd(wakeFd));
  const chunks = await servedChunks({
    ...{ name: names.volume, store: url, cache, manifest, key: keyOf(store), epoch: head.epoch },
    ...{ copy, wakeFd, waitUs, counters, report, stack },
    objects: store.localPath?.(names.head).slice(0, -names.head.length),
  });
  const engine = new ReadOnlyEngine({
    ...{ blockSize, segmentSize: blockSize, fds: [], sums: [], words: "", maps, counters, report },
    ...{ chunks, wakeFd },
  });
  stack.defer(() => engine.close());
  const methods = stack.use(new VolumeMethods(engine, report));
  const owned = stack.move();
  return {
    ...{ size, blockSize, engine, counters, warnings, readOnly: true, persistent: true },
    readAt: (buffer, offset) => methods.read(buffer, offset),
    writeAt: (buffer, offset, { fua }) => methods.write(buffer, offset, fua),
    flush: () => methods.flush(),
    extentAt: (offset, length) => extentOf(maps, blockSize, offset, length),
    close: () => owned.disposeAsync(),
  };
}
