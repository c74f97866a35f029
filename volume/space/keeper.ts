/**
 * Gives the space of an attached volume back without being asked: collects garbage beside the drain,
 * in the same thread, when there is something to collect, and not more often than is worth its work.
 * If the chunks that are left have much more than is needed, it reads the data of sparse ones, and the
 * drain writes that anew between two commits.
 *
 * A collection reads the whole block map. So the next one begins only after a pause of many times as
 * long. If the store has much more by now than is needed, or a move has just made chunks empty, the
 * pause is only as long as the collection was. And while the store has far more than is needed, commits
 * wait for a collection that is under way, each for a moment: then writes at full speed fill the journal
 * and are slowed, instead of filling the store.
 *
 * @module
 */

import { Backoff, mayPass } from "../../store/retry.ts";
import { startTimer } from "../../store/timer.ts";
import type { Committed } from "../committed.ts";
import type { ManifestName } from "../state.ts";
import { AT, type VolumeCounters } from "../counters.ts";
import type { Seam } from "../seam.ts";
import { Bases } from "./bases.ts";
import type { SortedRuns } from "../map/block_map.ts";
import { type Collected, collectGarbage, type HeldChunk } from "./collect.ts";
import { Moves, PendingMoves } from "./moves.ts";
import { PlainSizes } from "./plain_sizes.ts";
import { BESIDE_DRAIN, sparseChunks, type SparsePolicy } from "./sparse.ts";

/** The shortest pause between two collections, in milliseconds. */
const PAUSE_MS = 10_000;
/** A pause is at least so many times as long as the collection before. */
const PAUSE_FACTOR = 20;
/** The same under pressure: a half of the time, whatever the volume's size. */
const PRESSED_FACTOR = 1;
/** The store has to have grown by this part of what is needed, and by so many bytes. */
const GROWN_PART = 1 / 64;
const GROWN_BYTES = 16 << 20;

/** With so many times what is needed, commits wait for the collection under way. */
const HOLD_AT = 2;
/** But for no longer than this, in milliseconds: writers may be waiting for room in the journal. */
const HOLD_MS = 1000;

/** The parts of a {@linkcode SpaceKeeper}. */
export interface SpaceKeeperParts {
  /** The hold on the volume. */
  readonly committed: Committed;
  /** Counts what is freed. */
  readonly counters: VolumeCounters;
  /** Time and randomness. */
  readonly seam: Seam;
  /** Takes a line for the log. */
  readonly report: (words: string) => void;
  /** Data waits to be moved. */
  readonly onMoves: () => void;
  /** Most bytes in a second that are read of chunks whose data is moved. @default {Infinity} */
  readonly bandwidth?: number;
  /** When data is moved, for tests. @default {BESIDE_DRAIN} */
  readonly policy?: SparsePolicy;
  /** Waits, for tests. @default A timer */
  readonly timer?: (ms: number, call: () => void) => () => void;
  /** Collects, for tests. @default {collectGarbage} */
  readonly collect?: typeof collectGarbage;
}

/** Collects garbage beside a drain. */
export class SpaceKeeper {
  readonly #parts: SpaceKeeperParts;
  readonly #timer: (ms: number, call: () => void) => () => void;
  readonly #bases: Bases;
  readonly #pending = new PendingMoves();
  readonly #sizes = new PlainSizes();
  /** Data was moved since the last collection. */
  #hasMoved = false;
  readonly #backoff = new Backoff(Math.random, 1000, 60_000);
  /** The number of the manifest that was the last base. */
  #collected: number;
  /** Somebody has asked for a collection by this manifest or a newer one. */
  #asked: number | undefined = undefined;
  /** There may be garbage that no commit has made. */
  #mayFree = false;
  /** Counted bytes of chunks at the last collection, and what was stored and needed then. */
  #writtenBytes = 0;
  #storedBytes = 0;
  #neededBytes = 0;
  #endedMs: number;
  #tookMs = 0;
  #underWay: Promise<void> | undefined = undefined;
  #cancelTimer: (() => void) | undefined = undefined;
  #failure = "";
  /** Chunks that were found damaged. They are not chosen again: then nothing else would be moved. */
  readonly #damaged = new Set<number>();
  #isClosed = false;
  readonly #closing = new AbortController();

  /** Begins with the state that the engine has. */
  constructor(parts: SpaceKeeperParts) {
    this.#parts = parts;
    this.#timer = parts.timer ?? startTimer;
    const { head } = parts.committed;
    this.#bases = new Bases(head);
    // An earlier attachment's garbage goes with the first of this one's.
    this.#collected = head.manifest;
    this.#endedMs = parts.seam.clock();
  }

  /** A commit is about to be handed over to the engine. @param extents The entries it has changed. */
  handedOver(extents: SortedRuns): void {
    this.#bases.handedOver(this.#parts.committed.head, extents);
    this.#pending.changed(extents);
  }

  /** Takes the data that is to be moved now, between two commits; undefined if there is none. */
  takeMoves(): Moves | undefined {
    const moves = this.#pending.take();
    if (moves !== undefined) this.#hasMoved = true;
    return moves;
  }

  /** Waits before a commit, if writes have outrun the collection that is under way. */
  async catchUp(): Promise<void> {
    // Before the first collection has ended nobody knows.
    const isOutrun = this.#neededBytes > 0 &&
      this.#storedBytes + this.#grownBytes > HOLD_AT * this.#neededBytes;
    if (this.#underWay === undefined || this.#isClosed || !isOutrun) return;
    const late = Promise.withResolvers<void>();
    const cancel = this.#timer(HOLD_MS, late.resolve);
    await Promise.race([this.#underWay, late.promise]);
    cancel();
  }

  /** The volume has another manifest, by which no data has moved. */
  replaced(): void {
    this.#bases.replaced(this.#parts.committed.head);
    this.#look();
  }

  /** All reads of the engine are newer than so many commits. */
  quiet(commits: number): void {
    this.#bases.quiet(commits);
    this.#look();
  }

  /**
   * Collects as soon as the engine has reached a manifest, also if nothing was committed since the last
   * collection, or that has just ended.
   */
  ask(manifest: number): void {
    this.#asked = Math.max(this.#asked ?? 0, manifest);
    this.#look();
  }

  /**
   * Others may have made garbage: the next collection comes without a commit too, after the usual pause.
   */
  mayFree(): void {
    this.#mayFree = true;
    this.#look();
  }

  /** Begins no collection any more, and ends the one under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#closing.abort();
    this.#cancelTimer?.();
    await this.#underWay;
  }

  #look(): void {
    if (this.#isClosed || this.#underWay !== undefined) return;
    const base = this.#bases.newest;
    const hasReason = base.manifest !== this.#collected || this.#mayFree;
    if (!hasReason && !this.#isAskedFor(base)) return;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    const { seam } = this.#parts;
    const ms = this.#dueMs(base) - seam.clock();
    if (ms <= 0) {
      this.#underWay = this.#collect(base).finally(() => {
        this.#underWay = undefined;
        this.#look();
      });
    } else {
      this.#cancelTimer = this.#timer(ms, () => {
        this.#cancelTimer = undefined;
        this.#look();
      });
    }
  }

  #isAskedFor({ manifest }: ManifestName): boolean {
    return this.#asked !== undefined && manifest >= this.#asked;
  }

  #dueMs(base: ManifestName): number {
    if (this.#backoff.failures > 0) return this.#endedMs + this.#tookMs;
    if (this.#isAskedFor(base)) return this.#endedMs;
    const pauseMs = this.#hasMoved || this.#hasGrown
      ? PRESSED_FACTOR * this.#tookMs
      : Math.max(PAUSE_MS, PAUSE_FACTOR * this.#tookMs);
    return this.#endedMs + pauseMs;
  }

  /** Bytes of chunks since the last collection, in their plain form. */
  get #grownBytes(): number {
    return this.#parts.counters.get(AT.chunkPlainBytes) - this.#writtenBytes;
  }

  /** Whether the store has grown, and has much more than was needed. */
  get #hasGrown(): boolean {
    const grown = this.#grownBytes;
    const { beginsAt } = this.#parts.policy ?? BESIDE_DRAIN;
    return grown >= Math.max(GROWN_BYTES, this.#neededBytes * GROWN_PART) &&
      this.#storedBytes + grown > beginsAt * this.#neededBytes;
  }

  async #collect(base: ManifestName): Promise<void> {
    const {
      committed: { store, names },
      seam,
      counters,
      report,
      collect = collectGarbage,
      policy = BESIDE_DRAIN,
      bandwidth,
    } = this.#parts;
    const began = seam.clock();
    const writtenBytes = counters.get(AT.chunkPlainBytes);
    const grownBytes = this.#grownBytes;
    // Whoever asks from now on asks for another collection: this one may see nothing newer.
    const asked = this.#isAskedFor(base) ? this.#asked : undefined;
    if (asked !== undefined) this.#asked = undefined;
    const mayFree = this.#mayFree;
    this.#mayFree = false;
    try {
      const isOver = () => this.#isClosed;
      this.#hasMoved = false;
      this.#pending.begin(this.#bases.since);
      const found = await collect({ store, names, base, seam, isOver });
      const collected = found &&
        this.#withoutDamaged(await this.#sizes.of(store, names, found, isOver));
      this.#done(collected, writtenBytes);
      // Until these chunks are gone the store grows as much as it has since the last collection.
      const chunks = collected === undefined
        ? new Set<number>()
        : sparseChunks(collected, policy, grownBytes);
      const moves = chunks.size === 0 || this.#isClosed ? undefined : await Moves.read({
        ...{ store, names, ...collected!, chunks },
        ...{ bandwidth, signal: this.#closing.signal },
      });
      for (const [chunk, error] of moves?.damaged ?? []) {
        this.#damaged.add(chunk);
        report(`space of a damaged chunk is not given back: ${error.message}`);
      }
      this.#pending.ready(moves);
      if (chunks.size > 0) this.#parts.onMoves();
      this.#collected = base.manifest;
      this.#endedMs = seam.clock();
      this.#tookMs = this.#endedMs - began;
      this.#backoff.succeeded();
      this.#failure = "";
    } catch (error) {
      this.#pending.ready(undefined);
      if (this.#closing.signal.aborted) return;
      const words = error instanceof Error ? error.message : `${error}`;
      if (words !== this.#failure) report(`space is not given back: ${words}`);
      this.#failure = words;
      this.#endedMs = seam.clock();
      this.#tookMs = this.#backoff.next();
      // What cannot get better is tried again with the next base.
      if (!mayPass(error)) {
        this.#collected = base.manifest;
        return;
      }
      if (asked !== undefined) this.#asked = Math.max(this.#asked ?? 0, asked);
      this.#mayFree ||= mayFree;
    }
  }

  /** Leaves damaged chunks out, and what they have too much: it stays, and is no reason to collect. */
  #withoutDamaged(collected: Collected): Collected {
    const held: HeldChunk[] = [];
    let { storedBytes } = collected;
    for (const one of collected.held) {
      if (this.#damaged.has(one.chunk)) storedBytes -= one.bytes - one.neededBytes;
      else held.push(one);
    }
    return { ...collected, held, storedBytes };
  }

  /**
   * Notes what a collection has found. At once: when data could not be read to be moved, the growth that
   * the store's new size had in it was counted once more.
   */
  #done(freed: Collected | undefined, writtenBytes: number): void {
    this.#writtenBytes = writtenBytes;
    if (freed === undefined) return;
    const { counters } = this.#parts;
    counters.add(AT.collections, 1);
    counters.add(AT.freedBytes, freed.bytes);
    this.#storedBytes = freed.storedBytes;
    this.#neededBytes = freed.neededBytes;
  }
}
