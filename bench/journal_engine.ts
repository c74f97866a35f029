/**
 * A volume's engine over a journal on this machine's disk, without a store and without a drain.
 *
 * @module
 */

import { engineMemory } from "../disk/engine_memory.ts";
import { type RealFile, realFiles } from "../files/real.ts";
import { fail } from "../uapi/error.ts";
import { attachEngine } from "../volume/attach.ts";
import type { Drain, VolumeEngine } from "../volume/engine.ts";
import { openSegments, segmentPaths } from "../volume/journal/files.ts";
import type { JournalIdentity } from "../volume/journal/identity.ts";
import { Maps } from "../volume/maps.ts";
import { FileChunks } from "../volume/read/file_chunks.ts";
import type { VolumeKey } from "../volume/seal/volume_key.ts";
import { ENGINE_SIZES } from "../volume/sizes.ts";

/** Bytes of a block of the disk. */
export const BLOCK = 4096;
/** Bytes of a file of the journal. */
export const SEGMENT: number = 64 << 20;
/** Bytes of the disk. */
export const SIZE: number = 1 << 30;

/** Nothing is drained: the journal holds all of it. */
const NO_DRAIN: Drain = {
  published() {},
  hurry() {},
  commit: () => undefined,
  taken() {},
  quiet() {},
};

/** A journal that nobody has written to. */
export function newJournal(segments: number): JournalIdentity {
  return {
    ...{ volume: "11".repeat(16), journal: crypto.randomUUID().replaceAll("-", "") },
    ...{ size: SEGMENT, files: segments, blockSize: BLOCK },
  };
}

/** An engine, once its journal has been read. */
export interface JournalEngine extends Disposable {
  /** The engine. */
  readonly engine: VolumeEngine;
  /** Batches that the journal had. */
  readonly batches: number;
}

/**
 * Opens an engine over the journal in a folder.
 *
 * @param key The data key; undefined for a volume that is not encrypted.
 */
export function openJournalEngine(
  folder: string,
  identity: JournalIdentity,
  key?: VolumeKey,
): JournalEngine {
  const journal = openSegments(realFiles, segmentPaths(realFiles, folder), BLOCK);
  const { engine, batches } = attachEngine({
    ...{ identity, journal, epoch: 1, drain: NO_DRAIN, sizes: ENGINE_SIZES, key },
    fdOf: (file) => (file as RealFile).fd,
    allocate: engineMemory,
    maps: new Maps(SIZE / BLOCK, BLOCK),
    from: { position: 0, sequence: 0, chain: 0, written: 0 },
    chunks: new FileChunks((chunk) => fail(`chunk ${chunk} is not there`), 1, BLOCK),
    failsWhenFull: false,
    writesDurably: realFiles.hasCheapDurability(folder),
    words: "the journal",
    report: (words) => console.error(words),
  });
  return {
    ...{ engine, batches },
    [Symbol.dispose]() {
      for (const file of journal) file.close();
    },
  };
}
