/**
 * Adds data to a volume: chunks, and a run of the block map that names them. Nothing counts before a
 * commit does.
 *
 * @module
 */

import type { Store } from "../../store/store.ts";
import { areEqual, type Committed, type ManifestChange, readRun } from "../committed.ts";
import { AT, type VolumeCounters } from "../counters.ts";
import { addFrames, type ChunkWriter } from "../format/chunk.ts";
import type { RunEntry } from "../format/manifest.ts";
import { encodeRun, Extents } from "../format/run.ts";
import type { Collection } from "./collect.ts";
import { mergeRuns, runsToMerge } from "./merge.ts";
import { makeChunk, planChunks, type PlannedChunk } from "./pack.ts";
import { putsAtATime } from "./policy.ts";
import { sideBySide } from "./side_by_side.ts";

/** What was added, for a commit. */
export interface Added extends Required<Pick<ManifestChange, "nextChunk" | "runs" | "nextRun">> {
  /** The entries of the map that it changes. */
  readonly extents: Extents;
}

/** Puts data into chunks. */
export class ChunkAdder {
  readonly #committed: Committed;
  readonly #counters: VolumeCounters;

  /** Adds to a volume that is held. */
  constructor(committed: Committed, counters: VolumeCounters) {
    this.#committed = committed;
    this.#counters = counters;
  }

  /** Puts data into chunks, and their entries into the map. */
  async add(
    collection: Pick<Collection, "runs" | "copy">,
    first: number,
    last: number,
  ): Promise<Added> {
    const committed = this.#committed;
    const { blockSize, chunkSize, volume, runs, nextRun } = committed.manifest;
    const planned = planChunks(collection, blockSize, chunkSize);
    const extents = new Extents();
    let { nextChunk } = committed.manifest;
    const take = () => nextChunk++;
    const numbers = await sideBySide(planned, putsAtATime(chunkSize), async (plan, part) => {
      const origin = {
        ...{ volume, epoch: committed.epoch, first, last, blockSize, part },
        parts: planned.length,
      };
      return await this.#putChunk(plan, origin, take, collection);
    });
    for (const [part, { frames }] of planned.entries()) addFrames(extents, frames, numbers[part]);
    const added = extents.length === 0 ? { runs, nextRun } : await this.#addRun(extents);
    return { extents, nextChunk, ...added };
  }

  /** Puts a chunk under the first number that is taken and free. @returns The number. */
  async #putChunk(
    plan: PlannedChunk,
    origin: Omit<Parameters<typeof makeChunk>[1], "number">,
    take: () => number,
    collection: Pick<Collection, "copy">,
  ): Promise<number> {
    const { names, store } = this.#committed;
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
    const committed = this.#committed;
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
