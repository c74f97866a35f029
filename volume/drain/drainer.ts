/**
 * The drain: takes what the journal has, packs it into chunks, and commits them to the store. It
 * runs beside the engine, in a Worker of its own, and never makes it wait.
 *
 * A commit contains all batches up to one point and none behind it, so what the store has is a
 * prefix of what was written.
 *
 * @module
 */

import type { Store } from "../../store/store.ts";
import { assert, isUblkError } from "../../uapi/error.ts";
import { areEqual, type Committed, readRun } from "../committed.ts";
import { addFrames, type ChunkWriter } from "../format/chunk.ts";
import type { RunEntry } from "../format/manifest.ts";
import { encodeRun, Extents } from "../format/run.ts";
import type { JournalEnd } from "../journal/end.ts";
import { Collection } from "./collect.ts";
import { mergeRuns, runsToMerge } from "./merge.ts";
import { AT, VolumeCounters } from "../counters.ts";
import { makeChunk, planChunks, type PlannedChunk } from "./pack.ts";
import { putsAtATime } from "./policy.ts";
import { sideBySide } from "./side_by_side.ts";
import type { JournalSource } from "./source.ts";

/** Most pieces of a commit: the engine takes them over one by one. */
export const MAX_PIECES_OF_COMMIT = 1 << 16;

/** A commit, for the engine. */
export interface MadeCommit {
  /** The extents that it changed. */
  readonly extents: Extents;
  /** Where the journal continues after it. */
  readonly end: JournalEnd;
}

/** The parts of a {@linkcode Drainer}. */
export interface DrainerParts {
  /** The hold on the volume. */
  readonly committed: Committed;
  /** The journal. */
  readonly source: JournalSource;
  /** Room for the data of one commit. */
  readonly data: Uint8Array<ArrayBuffer>;
  /**
   * Counts what is put into the store.
   *
   * @default Nobody does
   */
  readonly counters?: VolumeCounters;
  /** Bytes of data that have been acknowledged in all, by now. */
  readonly written: () => number;
}

/** Makes commits. */
export class Drainer {
  readonly #parts: DrainerParts;
  readonly #counters: VolumeCounters;
  /** A commit that was decided, and of which nobody knows whether it counts. */
  #decided: MadeCommit | undefined = undefined;
  /** What was acknowledged before a moment is before a position, which no commit has reached yet. */
  #asOf: { readonly position: number; readonly time: number } | undefined = undefined;

  /** Takes over the parts. */
  constructor(parts: DrainerParts) {
    this.#parts = parts;
    this.#counters = parts.counters ?? new VolumeCounters();
  }

  /**
   * Commits batches up to a position of the journal, as many as fit one commit.
   *
   * If it fails, it may be called again: what was decided is brought to its end, and otherwise nothing
   * has changed.
   *
   * @param time A moment, in milliseconds since 1970: what was acknowledged before is before the
   *   position.
   * @returns Undefined if there was nothing to commit.
   */
  async commit(until: number, time: number): Promise<MadeCommit | undefined> {
    const { committed, source } = this.#parts;
    await committed.settle();
    if (this.#decided !== undefined) return this.#made(this.#decided);
    const before = source.end;
    assert(before.sequence === committed.manifest.sequence, "the drain goes on where it was");
    source.refresh();
    // Under a steady load no commit reaches the end: the moment stays until one has reached its
    // position.
    this.#asOf ??= { position: until, time };
    try {
      const collection = this.#collect(until);
      if (collection.batches === 0) {
        this.#asOf = undefined;
        return undefined;
      }
      return await this.#store(collection, before.sequence + 1);
    } catch (error) {
      if (this.#decided !== undefined) throw error;
      source.rewind(before);
      // Whoever has the volume by now deletes what only earlier manifests name.
      if (isUblkError(error) && error.code === "VOLUME_DAMAGED") await committed.check();
      throw error;
    }
  }

  #collect(until: number): Collection {
    const { committed, source, data } = this.#parts;
    const { size, blockSize } = committed.manifest;
    const collection = new Collection(data, size / blockSize, blockSize);
    while (collection.pieces < MAX_PIECES_OF_COMMIT) {
      const before = source.end;
      const batch = source.next(until);
      if (batch === undefined) break;
      if (!collection.hasRoom(batch.header.dataBytes)) {
        source.rewind(before);
        break;
      }
      collection.add(batch);
    }
    return collection;
  }

  async #store(collection: Collection, first: number): Promise<MadeCommit> {
    const { committed, source } = this.#parts;
    const { manifest } = committed;
    const { blockSize, chunkSize, volume } = manifest;
    const { end } = source;
    const asOf = this.#asOf!;
    const hasReached = end.position >= asOf.position;
    const planned = planChunks(collection, blockSize, chunkSize);
    const extents = new Extents();
    let { nextChunk } = manifest;
    const take = () => nextChunk++;
    const numbers = await sideBySide(planned, putsAtATime(chunkSize), async (plan, part) => {
      const origin = {
        ...{ volume, epoch: committed.epoch, first, last: end.sequence, blockSize, part },
        parts: planned.length,
      };
      return await this.#putChunk(plan, origin, take, collection);
    });
    for (const [part, { frames }] of planned.entries()) addFrames(extents, frames, numbers[part]);
    const added = extents.length === 0
      ? { runs: manifest.runs, nextRun: manifest.nextRun }
      : await this.#addRun(extents);
    const made = { extents, end };
    const change = {
      ...{ sequence: end.sequence, position: end.position, chain: end.chain },
      ...{ written: end.written, nextChunk, ...added },
      time: hasReached ? asOf.time : manifest.time,
    };
    if (hasReached) this.#asOf = undefined;
    try {
      await committed.commit(change, this.#parts.written());
    } catch (error) {
      if (committed.isDecided) this.#decided = made;
      else this.#asOf ??= asOf;
      throw error;
    }
    return this.#made(made);
  }

  #made(made: MadeCommit): MadeCommit {
    this.#decided = undefined;
    this.#counters.add(AT.commits, 1);
    this.#counters.set(AT.manifestWrittenBytes, this.#parts.committed.putBytes);
    return made;
  }

  /** Puts a chunk under the first number that is taken and free. @returns The number. */
  async #putChunk(
    plan: PlannedChunk,
    origin: Omit<Parameters<typeof makeChunk>[1], "number">,
    take: () => number,
    collection: Collection,
  ): Promise<number> {
    const { names, store } = this.#parts.committed;
    for (;;) {
      const number = take();
      const writer: ChunkWriter = makeChunk(plan, { ...origin, number }, collection);
      if (await this.#put(store, names.chunk(number), writer.bytes)) {
        this.#counters.add(AT.chunkWrittenBytes, writer.bytes.length);
        return number;
      }
    }
  }

  /** @returns Whether the object is there now; false if another one has the name. */
  async #put(store: Store, name: string, bytes: Uint8Array<ArrayBuffer>): Promise<boolean> {
    if (await store.putIfAbsent(name, bytes) === undefined) {
      // A fenced writer took the number, or our own attempt had succeeded.
      const found = await store.get(name);
      if (found === undefined || !areEqual(found.bytes, bytes)) return false;
    }
    return true;
  }

  /** Adds a run to the map, or merges it with those before. */
  async #addRun(extents: Extents): Promise<{ runs: readonly RunEntry[]; nextRun: number }> {
    const { committed } = this.#parts;
    let runs = committed.manifest.runs;
    let { nextRun } = committed.manifest;
    let level = 0;
    let merged = extents;
    // A run that would be merged at once is not written by itself first.
    for (;;) {
      const count = runsToMerge([...runs.map((run) => run.level), level]) - 1;
      if (count < 0) break;
      const first = runs.length - count;
      const older = [];
      for (let nth = first; nth < runs.length; nth++) {
        older.push(
          await readRun(committed.store, committed.names, { ...committed.manifest, runs }, nth),
        );
      }
      merged = mergeRuns([...older, merged], first === 0);
      runs = runs.slice(0, first);
      level++;
    }
    if (merged.length === 0) return { runs, nextRun };
    for (;; nextRun++) {
      const { bytes, sum } = encodeRun(committed.manifest.volume, nextRun, merged);
      if (!await this.#put(committed.store, committed.names.run(nextRun), bytes)) continue;
      this.#counters.add(AT.mapWrittenBytes, bytes.length);
      const entry = { number: nextRun, entries: merged.length, level, bytes: bytes.length, sum };
      return { runs: [...runs, entry], nextRun: nextRun + 1 };
    }
  }
}
