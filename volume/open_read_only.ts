/**
 * Opens a volume as a disk that is only read: as its store has it, beside whoever writes to it.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import { type RealFile, realFiles } from "../files/real.ts";
import { openStore } from "../store/open.ts";
import { chunkOpener, loadMaps } from "./attach.ts";
import { stateOf } from "./committed.ts";
import { VolumeCounters } from "./counters.ts";
import { localPathOf } from "./device_store.ts";
import { NO_UUID } from "./format/record.ts";
import { VolumeMethods } from "./methods.ts";
import { ObjectNames } from "./names.ts";
import { FileChunks } from "./read/file_chunks.ts";
import { ReadOnlyEngine } from "./read_only.ts";
import { ENGINE_SIZES } from "./sizes.ts";
import { storeFailure } from "./store_like.ts";

/** The options of a volume's disk that matter to a reader. */
export interface ReadOnlyDisk {
  /** The volume's name. */
  readonly name: string;
  /** The URL or the folder of the store. */
  readonly store: string;
}

/**
 * Opens a volume for reading. It stays as the store has it at this moment.
 *
 * @throws {UblkError} `VOLUME_NOT_FOUND`, `VOLUME_DAMAGED`, `VOLUME_STORE`.
 */
export async function openReadOnly(options: ReadOnlyDisk): Promise<Backend> {
  try {
    return await open(options);
  } catch (error) {
    throw storeFailure(error);
  }
}

async function open({ name, store: url }: ReadOnlyDisk): Promise<Backend> {
  await using stack = new AsyncDisposableStack();
  const store = stack.use(await openStore(url));
  const localPath = localPathOf(store);
  const names = new ObjectNames(name);
  const { head, manifest } = await stateOf(store, names);
  const maps = await loadMaps({ store, names, manifest });
  const report = (words: string) => console.error(words);
  const warnings = head.journal === NO_UUID ? [] : [
    `volume ${name} is read as its store had it at ${new Date(manifest.time).toISOString()}: ` +
    `${head.host || "somebody"} has it attached, and may have written more since`,
  ];
  const { blockSize, size } = manifest;
  const counters = new VolumeCounters();
  const open = chunkOpener({
    ...{ files: realFiles, volume: manifest.volume },
    fdOf: (file) => (file as RealFile).fd,
    pathOf: (chunk) => localPath(names.chunk(chunk)),
  });
  const engine = new ReadOnlyEngine({
    ...{ blockSize, segmentSize: blockSize, fds: [], sums: [], maps, counters, report },
    chunks: new FileChunks(open, ENGINE_SIZES.openChunks, blockSize),
  });
  stack.defer(() => engine.close());
  const methods = stack.use(new VolumeMethods(engine, report));
  const owned = stack.move();
  return {
    ...{ size, blockSize, engine, counters, warnings, readOnly: true, persistent: true },
    readAt: (buffer, offset) => methods.read(buffer, offset),
    writeAt: (buffer, offset, { fua }) => methods.write(buffer, offset, fua),
    flush: () => methods.flush(),
    close: () => owned.disposeAsync(),
  };
}
