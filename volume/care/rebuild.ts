/**
 * Makes a volume's block map again.
 *
 * It begins with the newest manifest that can be read and counted. The runs of that one which can be
 * read are exact. Chunks fill in for the others, and for what was committed after the manifest. The
 * runs before the first one that is lost are a whole map of their time: no chunk is asked about it.
 * Those behind the last one that is lost win over everything that chunks say.
 *
 * Chunks alone do not tell what was discarded once garbage has been collected: the chunk that said so
 * may be gone, while an older one is still there for other blocks.
 *
 * @module
 */

import type { Store } from "../../store/store.ts";
import { enterRun } from "../attach.ts";
import type { ChunkTable } from "../format/chunk.ts";
import type { Manifest } from "../format/manifest.ts";
import { placeOf } from "../format/place.ts";
import type { Extents } from "../format/run.ts";
import { Maps } from "../maps.ts";
import type { ObjectNames } from "../names.ts";
import { blocksOf, type Commit, commitsOf, continuing } from "./commits.ts";
import { birthOf, runsAtBirth } from "./birth.ts";
import { readTable, type Remains } from "./remains.ts";
import { newestChunk, runsOf } from "./runs_left.ts";

/** A map that was made again. */
export interface Rebuilt {
  /** The manifest that it begins with; undefined if none was left. */
  readonly base: Manifest | undefined;
  /** The base is the manifest that the head names. */
  readonly isExactBase: boolean;
  /** The map. */
  readonly maps: Maps;
  /** Of the disk, in bytes. */
  readonly size: number;
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Bytes of the longest chunk, in its plain form. */
  readonly longest: number;
  /** Bytes of the pieces in which chunks are compressed; 0 for none. */
  readonly piece: number;
  /** The last batch that is in it. */
  readonly sequence: number;
  /** The greatest epoch that was seen. */
  readonly epoch: number;
  /** What may be wrong with it, a line each. */
  readonly losses: readonly string[];
}

/** The parts of a rebuild. */
export interface RebuildParts {
  /** The store. */
  readonly store: Store;
  /** The names of the volume's objects. */
  readonly names: ObjectNames;
  /** What is left of it. */
  readonly remains: Remains;
  /** The size of the disk in bytes, if no manifest is left that tells it. */
  readonly size: number | undefined;
  /** Called after each object with the objects that are done, and that there are. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Makes the map.
 *
 * @returns Undefined if nothing is wrong with the map.
 * @throws {UnknownSize} If nobody knows the size of the disk.
 */
export async function rebuild(parts: RebuildParts): Promise<Rebuilt | undefined> {
  const { store, names, remains } = parts;
  const named = remains.head?.head;
  const exact = named &&
    remains.manifests.find((one) => one.number === named.manifest && one.sum === named.manifestSum);
  const runs = exact && await runsOf(store, names, exact);
  if (runs?.every((run) => run !== undefined)) return undefined;
  const { tables, unreadable } = await readTables(parts);
  const commits = commitsOf(tables.values());
  const base = exact ?? baseOf(remains, commits) ?? await birthOf(store, names, remains.volume);
  const work = new Rebuild(parts, commits, unreadable);
  return await work.run(base, base === exact && base !== undefined);
}

/** Nobody knows the size of a disk. */
export class UnknownSize extends Error {
  /** Always `"UnknownSize"`. */
  override readonly name = "UnknownSize";
  /** In bytes. */
  readonly least: number;

  /** Makes an error. @param least In bytes. */
  constructor(least: number) {
    super(`the disk has at least ${least} bytes`);
    this.least = least;
  }
}

async function readTables(
  { store, names, remains, onProgress }: RebuildParts,
): Promise<{ tables: Map<number, ChunkTable>; unreadable: number[] }> {
  const tables = new Map<number, ChunkTable>();
  const unreadable: number[] = [];
  let done = 0;
  // A copied clone has chunks of its ancestors, which say nothing about its own commits.
  const ancestors = remains.manifests.flatMap((manifest) => manifest.ancestors);
  const first = Math.max(0, ...ancestors.map(({ chunk }) => chunk));
  for (const number of [...remains.chunks.keys()].sort((left, right) => left - right)) {
    if (number < first) continue;
    const table = await readTable(store, names, remains.volume, number);
    if (table === undefined) unreadable.push(number);
    else tables.set(number, table);
    onProgress?.(++done, remains.chunks.size);
  }
  return { tables, unreadable };
}

/** The newest manifest that has counted, as far as manifests and chunks tell. */
function baseOf(
  { head, manifests, catalog }: Remains,
  commits: readonly Commit[],
): Manifest | undefined {
  const most = head?.head.manifest ?? Infinity;
  // What is older than a rollback says nothing.
  const least = catalog?.least ?? 0;
  return manifests.findLast(({ number, epoch, sequence }) =>
    // The one with the head's number is not the head's. A fenced writer's names batches from which
    // a later one has begun.
    number >= least && number < most &&
    commits.every((one) => one.epoch <= epoch || one.first > sequence)
  );
}

class Rebuild {
  readonly #parts: RebuildParts;
  readonly #commits: readonly Commit[];
  readonly #unreadable: readonly number[];
  readonly #losses: string[] = [];

  constructor(parts: RebuildParts, commits: readonly Commit[], unreadable: readonly number[]) {
    this.#parts = parts;
    this.#commits = commits;
    this.#unreadable = unreadable;
  }

  async run(base: Manifest | undefined, isExactBase: boolean): Promise<Rebuilt> {
    const { store, names, remains } = this.#parts;
    const runs = base === undefined ? [] : await runsOf(store, names, base);
    let lost = runs.indexOf(undefined);
    if (base === undefined) lost = 0;
    const before = lost < 0 ? runs.length : lost;
    const born = lost < 0 || base === undefined
      ? undefined
      : await runsAtBirth(store, names, base, before, this.#losses);
    const prefix = born ?? runs.slice(0, before) as Extents[];
    const suffix = runs.slice(runs.lastIndexOf(undefined) + 1) as Extents[];
    const later = this.#later(base, isExactBase);
    const known = born === undefined ? newestChunk(prefix) : 0;
    const within = lost < 0 ? [] : this.#commits.filter((one) => isWithin(one, base, known));
    if (base === undefined) this.#dropUnfinished(within);
    const all = [...within, ...later];
    const blockSize = base?.blockSize ?? this.#commits.at(0)?.chunks[0].blockSize ?? 0;
    if (blockSize === 0) throw new UnknownSize(0);
    // The disk may have been larger once. What was beyond its end was discarded first.
    const most = Math.max(blocksOf(all), (base?.size ?? 0) / blockSize);
    const maps = new Maps(most, blockSize);
    for (const run of prefix) enterRun(maps, run);
    for (const commit of within) enterCommit(maps, commit);
    if (lost >= 0) { for (const run of suffix) enterRun(maps, run); }
    if (base !== undefined) {
      maps.resize(base.size / blockSize);
      if (!isExactBase) maps.resize(most);
    }
    for (const commit of later) enterCommit(maps, commit);
    const size = this.#size(base, isExactBase, maps, blockSize);
    maps.resize(size / blockSize);
    this.#tellOfGaps(within, known, base, lost >= 0);
    const end = all.at(-1);
    let longest = 0;
    let piece = 0;
    for (const { chunks } of this.#commits) {
      for (const chunk of chunks) {
        longest = Math.max(longest, chunk.length);
        piece = Math.max(piece, chunk.piece);
      }
    }
    // How large pieces are follows from how large chunks may be, so that is told by those that were read.
    const lengths = piece === 0 ? remains.chunks.values() : [];
    for (const length of lengths) longest = Math.max(longest, length);
    let epoch = Math.max(remains.head?.head.epoch ?? 0, this.#commits.at(-1)?.epoch ?? 0);
    for (const one of remains.manifests) epoch = Math.max(epoch, one.epoch);
    return {
      ...{ base, isExactBase, maps, size, blockSize, longest, piece, losses: this.#losses },
      sequence: Math.max(base?.sequence ?? 0, end?.last ?? 0),
      epoch,
    };
  }

  /** Without a manifest, nothing but its chunks tells whether the last commit was brought to its end. */
  #dropUnfinished(commits: Commit[]): void {
    for (let last = commits.at(-1); last !== undefined && last.missing > 0; last = commits.at(-1)) {
      this.#losses.push(
        `the commit of batches ${last.first} to ${last.last} does not count: ${last.missing} of ` +
          "its chunks are missing",
      );
      commits.pop();
    }
  }

  /** The commits after the base. */
  #later(base: Manifest | undefined, isExactBase: boolean): Commit[] {
    if (base === undefined || isExactBase) return [];
    const { head, greatest } = this.#parts.remains;
    const most = head === undefined ? Infinity : head.head.manifest - base.number;
    const later = continuing(this.#commits, base, most);
    const lost = head?.head.manifest ?? (greatest.manifest > base.number ? greatest.manifest : 0);
    if (lost > 0) {
      this.#losses.push(
        `manifest ${lost} is lost: ${nameOf(base)} counts, of ` +
          `${new Date(base.time).toISOString()}, and ${later.length} commits after it whose ` +
          "chunks are whole; a size that was given since is lost",
      );
    }
    return later;
  }

  /** @throws {UnknownSize} */
  #size(
    base: Manifest | undefined,
    isExactBase: boolean,
    maps: Maps,
    blockSize: number,
  ): number {
    if (base !== undefined && isExactBase) return base.size;
    let blocks = 0;
    for (const cursor = maps.chunks.cursor(); cursor.next();) blocks = cursor.block + cursor.count;
    const { size = base?.size } = this.#parts;
    const least = blocks * blockSize;
    const isPossible = size !== undefined && size > 0 && size % blockSize === 0;
    if (!isPossible || base === undefined && size < least) throw new UnknownSize(least);
    return Math.max(size, least);
  }

  /** Tells of chunks that are not there, and of whose blocks nothing is known. */
  #tellOfGaps(
    within: readonly Commit[],
    known: number,
    base: Manifest | undefined,
    isLost: boolean,
  ): void {
    if (!isLost) return;
    const { names, remains } = this.#parts;
    const older = "blocks that it held have what they had before it";
    for (const number of this.#unreadable) {
      if (number <= known || number >= (base?.nextChunk ?? Infinity)) continue;
      this.#losses.push(`${names.chunk(number)} is damaged, and its table too: ${older}`);
    }
    if (remains.catalog !== undefined && remains.catalog.least > 0) {
      this.#losses.push("it was rolled back: what was written before that may be there again");
    }
    if (remains.catalog === undefined || remains.catalog.floor > 0) {
      this.#losses.push(
        "garbage has been collected: blocks that were discarded, or whose chunk is missing, may " +
          "have older data again",
      );
      return;
    }
    for (const { first, last, missing, chunks } of within) {
      if (missing === 0 || chunks[0].number <= known) continue;
      this.#losses.push(
        `${missing} chunks of the commit of batches ${first} to ${last} are missing: ` +
          "blocks that they held have what they had before",
      );
    }
    // The batch with which the runs end that are known.
    const from = this.#commits.find((one) => one.chunks.some(({ number }) => number === known));
    let end = known === 0 ? 0 : from?.last;
    if (end === undefined) {
      this.#losses.push(
        `${
          names.chunk(known)
        } cannot be read, so nobody knows whether those after it are all there: ` +
          "blocks that they held have what they had before",
      );
    }
    for (const { first, last } of within) {
      if (end !== undefined && first > end + 1) {
        this.#losses.push(
          `all chunks of batches ${end + 1} to ${first - 1} are missing: ` +
            "blocks that they held have what they had before",
        );
      }
      end = last;
    }
    if (base === undefined || end === undefined || end >= base.sequence) return;
    this.#losses.push(
      `all chunks of batches ${end + 1} to ${base.sequence} are missing: ` +
        "blocks that they held have what they had before",
    );
  }
}

/** Whether a commit is in a manifest, and not in those of its runs that are known. */
function isWithin(commit: Commit, base: Manifest | undefined, known: number): boolean {
  if (commit.chunks.at(-1)!.number <= known) return false;
  // Without a manifest, a commit without all its chunks counts if a later one has followed.
  if (base === undefined) return true;
  return commit.last <= base.sequence && commit.epoch <= base.epoch;
}

function nameOf({ number }: Manifest): string {
  return number === 0 ? "what was cloned" : `manifest ${number}`;
}

function enterCommit(maps: Maps, { chunks }: Commit): void {
  for (const { frames, number } of chunks) {
    let nth = 0;
    for (const { block, count, hole } of frames) {
      const kept = Math.min(count, maps.blocks - block);
      if (kept > 0) {
        if (hole) maps.chunks.remove(block, kept);
        else maps.chunks.set(block, kept, placeOf(number, nth));
      }
      if (!hole) nth += count;
    }
  }
}
