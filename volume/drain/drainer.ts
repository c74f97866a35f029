/**
 * The drain: takes what the journal has, packs it into chunks, and commits them to the store. It
 * runs beside the engine, in a Worker of its own, and never makes it wait.
 *
 * A commit contains all batches up to one point and none behind it, so what the store has is a
 * prefix of what was written. One ends at each snapshot that was taken (`marks/marks.ts`).
 *
 * @module
 */

import { assert, isUblkError } from "../../uapi/error.ts";
import type { Committed, ManifestChange } from "../committed.ts";
import type { Moves } from "../space/moves.ts";
import type { Extents } from "../format/run.ts";
import type { Commit } from "../engine.ts";
import type { JournalEnd } from "../journal/end.ts";
import type { JournalMoment, Marks } from "../marks/marks.ts";
import { ChunkAdder } from "./add.ts";
import { Collection } from "./collect.ts";
import { AT, VolumeCounters } from "../counters.ts";
import type { JournalSource } from "./source.ts";

/** Most pieces of a commit: the engine takes them over one by one. */
export const MAX_PIECES_OF_COMMIT = 1 << 16;

/** Collected data after which others have a turn: some milliseconds. */
const TURN_BYTES = 4 << 20;

/** A commit, for the engine. */
export interface MadeCommit {
  /** The extents that it changed. */
  readonly extents: Extents;
  /** Where the journal continues after it; undefined if it has only moved data in the store. */
  readonly end: JournalEnd | undefined;
}

/** A commit, as the engine is to take it over. */
export function commitOf({ extents, end }: MadeCommit): Commit {
  return { extents, position: end?.position ?? -1, written: end?.written ?? 0 };
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
  /** Snapshots that were taken. */
  readonly marks: Pick<Marks, "cut" | "enter">;
  /**
   * Gives others of this thread a turn: whoever asks for a snapshot does not wait for a whole commit.
   *
   * @default They have none
   */
  readonly turn?: () => Promise<void>;
}

/**
 * Makes commits.
 *
 * A commit that was decided and whose head could not be put may count by now, or later, and the engine
 * does not know of it. Whoever calls brings it to its end ({@linkcode finish}) and hands it over before
 * anything else is committed: a state beyond it would pass for one that the engine has reached, and what
 * the engine still reads would be deleted as garbage.
 */
export class Drainer {
  readonly #parts: DrainerParts;
  readonly #counters: VolumeCounters;
  readonly #adder: ChunkAdder;
  /** A commit that was decided, and of which nobody knows whether it counts. */
  #decided: MadeCommit | undefined = undefined;
  /**
   * The end of a commit that failed: the next attempt has the same batches, and so the same chunks, of
   * which some may be there already.
   */
  #failedAt = Infinity;
  /** What was acknowledged before a moment is before a position, which no commit has reached yet. */
  #asOf: JournalMoment | undefined = undefined;

  /** Takes over the parts. */
  constructor(parts: DrainerParts) {
    this.#parts = parts;
    this.#counters = parts.counters ?? new VolumeCounters();
    this.#adder = new ChunkAdder(parts.committed, this.#counters, parts.turn);
  }

  /** Whether a commit was decided, and is to be brought to its end and handed over. */
  get owesCommit(): boolean {
    return this.#decided !== undefined;
  }

  /**
   * Makes the commit count that was decided.
   *
   * If it fails, it may be called again.
   *
   * @returns Undefined if there was none.
   */
  async finish(): Promise<MadeCommit | undefined> {
    await this.#parts.committed.settle();
    return this.#decided && this.#made(this.#decided);
  }

  /**
   * Gives the disk another size in bytes. No commit may be owed.
   *
   * If it fails, it may be called again.
   */
  async resize(size: number): Promise<void> {
    assert(!this.owesCommit, "the engine has all commits before a size");
    await this.enter();
    await this.#parts.committed.commit({ size });
  }

  /**
   * Commits batches up to a position of the journal, as many as fit one commit.
   *
   * If it fails, it may be called again: what was decided is brought to its end, and otherwise nothing
   * has changed.
   *
   * @param time A moment, in milliseconds since 1970: what was acknowledged before is before the
   *   position.
   * @returns Undefined if there was nothing to commit: the store has all before the position.
   */
  async commit(until: number, time: number): Promise<MadeCommit | undefined> {
    const made = await this.#commit(until, time);
    // If that fails, it comes first the next time.
    await this.enter().catch(() => {});
    return made;
  }

  /** Makes the entries of snapshots whose state the store has. Nothing is committed before. */
  async enter(): Promise<void> {
    await this.#parts.committed.settle();
    await this.#parts.marks.enter();
  }

  async #commit(wanted: number, time: number): Promise<MadeCommit | undefined> {
    const { committed, source, marks } = this.#parts;
    const decided = await this.finish();
    if (decided !== undefined) return decided;
    await this.enter();
    const cut = marks.cut({ position: wanted, time });
    const until = cut.position;
    const before = source.end;
    assert(before.sequence === committed.manifest.sequence, "the drain goes on where it was");
    source.refresh();
    // Under a steady load no commit reaches the end: the moment stays until one has reached its
    // position.
    this.#asOf ??= cut;
    try {
      const collection = await this.#collect(Math.min(until, this.#failedAt));
      if (collection.batches === 0) {
        // Otherwise whoever calls would take it for committed, and leave the volume in order without it.
        assert(source.end.position >= until, "the journal has what was published");
        this.#asOf = undefined;
        return undefined;
      }
      const hasAll = source.end.position >= until;
      const asOf = hasAll ? cut : this.#asOf!;
      const made = await this.#store(collection, before.sequence + 1, asOf);
      this.#failedAt = Infinity;
      return made;
    } catch (error) {
      this.#failedAt = Infinity;
      if (this.#decided !== undefined) throw error;
      if (source.end.position > before.position) this.#failedAt = source.end.position;
      source.rewind(before);
      // Whoever has the volume by now deletes what only earlier manifests name.
      if (isUblkError(error) && error.code === "VOLUME_DAMAGED") await committed.check();
      throw error;
    }
  }

  async #collect(until: number): Promise<Collection> {
    const { committed, source, data, turn } = this.#parts;
    const { size, blockSize } = committed.manifest;
    const collection = new Collection(data, size / blockSize, blockSize);
    let turnAt = TURN_BYTES;
    while (collection.pieces < MAX_PIECES_OF_COMMIT) {
      if (collection.blocks * blockSize >= turnAt) {
        turnAt += TURN_BYTES;
        await turn?.();
      }
      const before = source.end;
      const batch = source.next(until);
      if (batch === undefined) break;
      if (!collection.hasRoom(batch.header.dataBytes)) {
        source.rewind(before);
        break;
      }
      collection.add(batch, source.opener);
    }
    return collection;
  }

  async #store(
    collection: Collection,
    first: number,
    asOf: JournalMoment,
  ): Promise<MadeCommit> {
    const { committed, source } = this.#parts;
    const { manifest } = committed;
    const { end } = source;
    const hasReached = end.position >= asOf.position;
    const { extents, ...added } = await this.#adder.add(collection, first, end.sequence);
    const made = { extents, end };
    const change = {
      ...{ sequence: end.sequence, position: end.position, chain: end.chain },
      ...{ written: end.written, ...added },
      time: hasReached ? asOf.time : manifest.time,
    };
    if (hasReached) this.#asOf = undefined;
    try {
      return await this.#finish(made, change);
    } catch (error) {
      if (!committed.isDecided) this.#asOf ??= asOf;
      throw error;
    }
  }

  /**
   * Commits data that is moved from sparse chunks to new ones. The volume reads as before.
   *
   * If it fails, it may be called again, as {@linkcode commit}: if that one was decided, it is what is
   * returned.
   */
  async move(moves: Moves): Promise<MadeCommit> {
    const decided = await this.finish();
    if (decided !== undefined) return decided;
    await this.enter();
    const { sequence, blockSize } = this.#parts.committed.manifest;
    const bytes = moves.blocks * blockSize;
    // It is as new as the last commit, and no older one may win over it: see docs/volume-format.md.
    const { extents, ...added } = await this.#adder.add(moves, sequence + 1, sequence);
    const made = await this.#finish({ extents, end: undefined }, added);
    this.#counters.add(AT.movedBytes, bytes);
    return made;
  }

  async #finish(made: MadeCommit, change: ManifestChange): Promise<MadeCommit> {
    const { committed } = this.#parts;
    try {
      await committed.commit(change, this.#parts.written());
    } catch (error) {
      if (committed.isDecided) this.#decided = made;
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
}
