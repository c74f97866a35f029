/**
 * Adds data to a volume: chunks, and a run of the block map that names them. Nothing counts before a
 * commit does.
 *
 * @module
 */

import type { Committed, ManifestChange } from "../committed.ts";
import { areEqual, readRun } from "../state.ts";
import { AT, type VolumeCounters } from "../counters.ts";
import { addFrames, type ChunkWriter } from "../format/chunk.ts";
import { pieceBytes } from "../format/compression.ts";
import type { RunEntry } from "../format/manifest.ts";
import { Extents } from "../format/run.ts";
import { encodeRunFor, innerOf, keyOf, storedForm } from "../opened_store.ts";
import type { Collection } from "./collect.ts";
import { levelOf, mergeRuns, runsToMerge } from "./merge.ts";
import { makeChunk, planChunks, type PlannedChunk } from "./pack.ts";
import { putsAtATime } from "./policy.ts";
import { sideBySide } from "./side_by_side.ts";

/** What was added, for a commit. */
export interface Added extends Required<Pick<ManifestChange, "nextChunk" | "runs" | "nextRun">> {
  /** The entries of the map that it changes. */
  readonly extents: Extents;
}

/** The chunks of an attempt, which the next one continues if it is of the same. */
interface Attempt {
  readonly manifest: number;
  readonly first: number;
  readonly last: number;
  /** By their part: the number of each chunk that is there, or was tried. */
  readonly numbers: (number | undefined)[];
  /** Of them, those that are there. */
  readonly there: boolean[];
  /** The next number. */
  next: number;
}

/** Puts data into chunks. */
export class ChunkAdder {
  readonly #committed: Committed;
  readonly #counters: VolumeCounters;
  readonly #turn: (() => Promise<void>) | undefined;
  #attempt: Attempt | undefined = undefined;

  /**
   * Adds to a volume that is held.
   *
   * @param turn Gives others of this thread a turn, before each chunk: a store in a folder keeps it until
   *   that is on the disk.
   */
  constructor(committed: Committed, counters: VolumeCounters, turn?: () => Promise<void>) {
    this.#committed = committed;
    this.#counters = counters;
    this.#turn = turn;
  }

  /** Puts data into chunks, and their entries into the map. */
  async add(
    collection: Pick<Collection, "runs" | "copy">,
    first: number,
    last: number,
  ): Promise<Added> {
    const committed = this.#committed;
    const { blockSize, chunkSize, volume, runs, nextRun } = committed.manifest;
    const piece = pieceBytes(committed.manifest);
    const isSealed = keyOf(committed.store) !== undefined;
    const planned = planChunks(collection, blockSize, chunkSize, isSealed);
    const extents = new Extents();
    const attempt = this.#attemptAt(first, last, planned.length);
    await sideBySide(planned, putsAtATime(chunkSize), async (plan, part) => {
      const origin = {
        ...{ volume, epoch: committed.epoch, first, last, blockSize, part, piece },
        parts: planned.length,
      };
      await this.#putChunk(plan, origin, attempt, collection);
    });
    planned.forEach(({ frames }, part) => addFrames(extents, frames, attempt.numbers[part]!));
    const added = extents.length === 0 ? { runs, nextRun } : await this.#addRun(extents);
    return { extents, nextChunk: attempt.next, ...added };
  }

  /**
   * The attempt to go on with. Without it each one would have found the numbers taken by what the one
   * before had put, would have looked at all of it, and put everything once more behind that: the more
   * often a store failed, the less likely was the next attempt to succeed.
   */
  #attemptAt(first: number, last: number, parts: number): Attempt {
    const { number: manifest, nextChunk: next } = this.#committed.manifest;
    const before = this.#attempt;
    // Batches are the same whenever they are read; what is moved is chosen anew.
    const isOfBatches = last >= first;
    const isSame = isOfBatches && before?.manifest === manifest && before.first === first &&
      before.last === last && before.numbers.length === parts;
    if (isSame) return before;
    const numbers: undefined[] = new Array(parts).fill(undefined);
    return this.#attempt = {
      ...{ manifest, first, last, numbers, next },
      there: new Array(parts).fill(false),
    };
  }

  /** Puts a chunk, unless it is there, under the number that was tried last, or the first free one. */
  async #putChunk(
    plan: PlannedChunk,
    origin: Omit<Parameters<typeof makeChunk>[1], "number">,
    attempt: Attempt,
    collection: Pick<Collection, "copy">,
  ): Promise<void> {
    const { names, store } = this.#committed;
    const { numbers, there } = attempt;
    const { part } = origin;
    while (!there[part]) {
      await this.#turn?.();
      const number = numbers[part] ??= attempt.next++;
      const isSealed = keyOf(store) !== undefined;
      const { bytes }: ChunkWriter = makeChunk(plan, { ...origin, number }, collection, isSealed);
      const stored = await this.#put(names.chunk(number), bytes);
      there[part] = stored !== undefined;
      if (stored === undefined) numbers[part] = undefined;
      else {
        this.#counters.add(AT.chunkWrittenBytes, stored);
        this.#counters.add(AT.chunkPlainBytes, bytes.length);
      }
    }
  }

  /** @returns Bytes of the object, which is there now; undefined if another one has the name. */
  async #put(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<number | undefined> {
    const { store } = this.#committed;
    const stored = storedForm(store, name, bytes);
    if (await innerOf(store).putIfAbsent(name, stored) === undefined) {
      // A fenced writer took the number, or our own attempt had succeeded.
      const found = await store.get(name);
      if (found === undefined || !areEqual(found.bytes, bytes)) return undefined;
    }
    return stored.length;
  }

  /** Adds a run to the map, or merges it with those before. */
  async #addRun(extents: Extents): Promise<{ runs: readonly RunEntry[]; nextRun: number }> {
    const committed = this.#committed;
    let runs = committed.manifest.runs;
    let { nextRun } = committed.manifest;
    let merged = extents;
    // A run that would be merged at once is not written by itself first.
    for (;;) {
      const count = runsToMerge(runs.map((run) => run.entries), merged.length);
      if (count === 0) break;
      const first = runs.length - count;
      const older = [];
      for (let nth = first; nth < runs.length; nth++) {
        older.push(
          await readRun(committed.store, committed.names, { ...committed.manifest, runs }, nth),
        );
      }
      merged = mergeRuns([...older, merged], first === 0);
      runs = runs.slice(0, first);
    }
    if (merged.length === 0) return { runs, nextRun };
    for (;; nextRun++) {
      const { store, manifest } = committed;
      const { bytes, sum } = encodeRunFor(store, manifest.volume, nextRun, merged);
      const stored = await this.#put(committed.names.run(nextRun), bytes);
      if (stored === undefined) continue;
      this.#counters.add(AT.mapWrittenBytes, stored);
      const entries = merged.length;
      const level = levelOf(entries);
      const entry = { number: nextRun, entries, level, bytes: bytes.length, sum };
      return { runs: [...runs, entry], nextRun: nextRun + 1 };
    }
  }
}
