/**
 * Puts a volume's engine together: what the store has, then what its journal has.
 *
 * @module
 */

import type { EngineMemory } from "../disk/engine.ts";
import { errnoOfFile } from "../files/file_error.ts";
import type { File, Files } from "../files/port.ts";
import { readUpTo, readWhole } from "../files/whole.ts";
import { ENOENT } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import type { Committed } from "./committed.ts";
import { readRun } from "./state.ts";
import { type Drain, VolumeEngine } from "./engine.ts";
import { CHUNK_HEADER_BYTES, tableBytesOf } from "./format/chunk.ts";
import { FormatError } from "./format/record.ts";
import { HOLE } from "./format/place.ts";
import type { Columns } from "./format/run.ts";
import { VolumeCounters } from "./counters.ts";
import type { SortedRuns } from "./map/block_map.ts";
import { batchMemoryBytes } from "./journal/batch_layout.ts";
import type { Lease } from "./lease.ts";
import type { JournalIdentity } from "./journal/identity.ts";
import { recoverJournal } from "./journal/recover.ts";
import type { JournalEnd } from "./journal/end.ts";
import { Maps } from "./maps.ts";
import type { Owner } from "./owners.ts";
import type { OpenChunk } from "./read/chunk_files.ts";
import type { ChunkReads } from "./read/chunk_reads.ts";
import { checkPieces, decodeAnyTable } from "./pack/any_table.ts";
import { JournalSealer } from "./seal/journal.ts";
import type { VolumeKey } from "./seal/volume_key.ts";
import type { EngineSizes } from "./sizes.ts";

/** Enters a run of the block map: later ones win. What is beyond the end of the disk is left out. */
export function enterRun(maps: Maps, run: SortedRuns): void {
  const { length, blocks, counts, places } = run;
  const last = length - 1;
  const isInside = length === 0 || blocks[last] + counts[last] <= maps.blocks;
  if (isInside && places.subarray(0, length).indexOf(HOLE) < 0) return maps.chunks.loadSorted(run);
  for (let nth = 0; nth < length; nth++) {
    const count = Math.min(counts[nth], maps.blocks - blocks[nth]);
    if (count <= 0) return;
    if (places[nth] === HOLE) maps.chunks.remove(blocks[nth], count);
    else maps.chunks.set(blocks[nth], count, places[nth]);
  }
}

/**
 * Enters a run of which nothing is needed any more, and gives its memory back: twenty bytes for each
 * extent would wait for a collection.
 */
export function useUpRun(maps: Maps, run: Columns): void {
  enterRun(maps, run);
  for (const { buffer } of [run.blocks, run.counts, run.places]) buffer.transfer(0);
}

/** The maps of what a volume has in its store. */
export async function loadMaps(
  { store, names, manifest }: Pick<Committed, "store" | "names" | "manifest">,
): Promise<Maps> {
  const maps = new Maps(manifest.size / manifest.blockSize, manifest.blockSize);
  for (let nth = 0; nth < manifest.runs.length; nth++) {
    useUpRun(maps, await readRun(store, names, manifest, nth));
  }
  return maps;
}

/** The parts of an engine. */
export interface AttachParts {
  /** The descriptor of an open file. */
  readonly fdOf: (file: File) => number;
  /** Memory that the host's operations can use. */
  readonly allocate: (bytes: number) => EngineMemory & Partial<Disposable>;
  /** The journal's identity. */
  readonly identity: JournalIdentity;
  /** The journal's open files. */
  readonly journal: readonly File[];
  /** The writer's epoch. */
  readonly epoch: number;
  /** The maps of what the store has. */
  readonly maps: Maps;
  /** Where the store ends. */
  readonly from: JournalEnd;
  /** Reads what is in chunks. */
  readonly chunks: ChunkReads;
  /** The drain. */
  readonly drain: Drain;
  /**
   * The volume's counters.
   *
   * @default New ones, that nobody reads
   */
  readonly counters?: VolumeCounters;
  /** Sizes. */
  readonly sizes: EngineSizes;
  /** A full journal fails writes. */
  readonly failsWhenFull: boolean;
  /**
   * How long a full journal makes writes wait before they fail, in microseconds.
   *
   * @default {Infinity}
   */
  readonly waitUs?: number;
  /**
   * A FLUSH is answered only once the store has what it covers.
   *
   * @default false
   */
  readonly isDurableInStore?: boolean;
  /**
   * A durable write to the journal costs about as much as a plain one.
   *
   * @default false
   */
  readonly writesDurably?: boolean;
  /**
   * Without it no FLUSH is answered.
   *
   * @default One that never ends
   */
  readonly lease?: Pick<Lease, "isHeld">;
  /** The journal in words, for errors. */
  readonly words: string;
  /** The data key; undefined for a volume that is not encrypted. */
  readonly key?: VolumeKey;
  /** Takes a line for the log. */
  readonly report: (words: string) => void;
}

/** An engine, and what its journal held. */
export interface AttachedEngine {
  /** The engine. */
  readonly engine: VolumeEngine;
  /** Where the journal ended. */
  readonly end: JournalEnd;
  /** Where the drain begins. */
  readonly drainFrom: JournalEnd;
  /** Batches that the store did not have. */
  readonly batches: number;
}

/** Reads the journal, and puts an engine together that continues it. */
export function attachEngine(parts: AttachParts): AttachedEngine {
  const { fdOf, allocate, identity, journal, maps, from, sizes, words } = parts;
  const { volume, size, blockSize } = identity;
  const { end, start, sums, seals, batches } = recoverJournal({
    ...{ files: journal, volume, journal: identity.journal, blockSize, size, from, maps },
    ...{ words, key: parts.key },
  });
  const sealing = parts.key && seals &&
    { seals, sealer: new JournalSealer(parts.key, volume, identity.journal) };
  const memoryBytes = batchMemoryBytes(sizes.batchData, blockSize);
  const engine = new VolumeEngine({
    ...{ blockSize, end, sums, sealing, maps },
    identity: { volume, journal: identity.journal, epoch: parts.epoch, blockSize, size },
    fds: journal.map(fdOf),
    stored: from,
    counters: parts.counters ?? new VolumeCounters(),
    chunks: parts.chunks,
    ...{ pieces: sizes.pieces, takenAtOnce: sizes.takenAtOnce },
    memories: Array.from({ length: sizes.batches }, () => allocate(memoryBytes)),
    batchData: sizes.batchData,
    drain: parts.drain,
    failsWhenFull: parts.failsWhenFull,
    ...{ waitUs: parts.waitUs, isDurableInStore: parts.isDurableInStore },
    ...{ writesDurably: parts.writesDurably, lease: parts.lease },
    ...{ report: parts.report, words },
  });
  return { engine, end, drainFrom: start, batches };
}

/** The parts of an opener of chunks. */
export interface ChunkFilesParts {
  /** The files of this machine. */
  readonly files: Files;
  /** The descriptor of an open file. */
  readonly fdOf: (file: File) => number;
  /** The owner of a chunk. */
  readonly ownerOf: (chunk: number) => Owner;
  /** The path of an object's file. */
  readonly pathOf: (name: string) => string;
  /** The data key; undefined for a volume that is not encrypted. */
  readonly key?: VolumeKey;
  /** Bytes of a piece; 0 for a volume that does not compress. */
  readonly piece: number;
}

/** Opens chunks that are files on this machine, and checks their tables. */
export function chunkOpener(
  { files, fdOf, ownerOf, pathOf, key, piece }: ChunkFilesParts,
): OpenChunk {
  return (chunk) => {
    const { names, volume } = ownerOf(chunk);
    const name = names.chunk(chunk);
    const path = pathOf(name);
    using stack = new DisposableStack();
    try {
      const file = stack.use(files.open(path));
      const header = new Uint8Array(CHUNK_HEADER_BYTES);
      readUpTo(file, header, 0);
      const bytes = new Uint8Array(tableBytesOf(header));
      readWhole(file, bytes, 0);
      const { dataAt, sums, seals, pieces } = decodeAnyTable(bytes, volume, chunk, key);
      checkPieces(pieces, piece);
      stack.move();
      return { name, file, fd: fdOf(file), dataAt, sums, seals, pieces };
    } catch (error) {
      if (errnoOfFile(error) === ENOENT) throw broken(path, "is missing, and the map names it");
      if (error instanceof FormatError) throw broken(path, error.message);
      throw error;
    }
  };
}

function broken(path: string, reason: string): UblkError {
  const hint = "bring the object back from a copy of the store";
  return new UblkError("VOLUME_DAMAGED", { operation: path, reason, hint });
}
