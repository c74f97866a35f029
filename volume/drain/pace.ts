/**
 * When the drain commits, in a program that does it in its own thread: once enough has come together,
 * or has waited for long enough, and at once when somebody asks for it. A store that fails is tried
 * again, ever more slowly. A volume that somebody else has taken, or that is damaged, is drained no
 * more.
 *
 * @module
 */

import { Backoff, mayPass } from "../../store/retry.ts";
import { startTimer } from "../../store/timer.ts";
import { assert, isUblkError, thrownText, UblkError } from "../../uapi/error.ts";
import type { Commit, Drain } from "../engine.ts";
import { AT, type VolumeCounters } from "../counters.ts";
import type { Seam } from "../seam.ts";
import type { JournalEnd } from "../journal/end.ts";
import type { SortedRuns } from "../map/block_map.ts";
import type { Marks } from "../marks/marks.ts";
import type { Moves } from "../space/moves.ts";
import type { Published } from "./board.ts";
import { commitOf, type Drainer, type MadeCommit } from "./drainer.ts";
import { COMMIT_BYTES, COMMIT_MS } from "./policy.ts";

/** The parts of a {@linkcode DrainPace}. */
export interface DrainPaceParts {
  /** Time. */
  readonly seam: Pick<Seam, "clock" | "now">;
  /** Counts failures of the store. */
  readonly counters: Pick<VolumeCounters, "add">;
  /** Tells the engine that a commit waits. */
  readonly wake: () => void;
  /** Takes a line for the log. */
  readonly report: (words: string) => void;
  /** A commit counts, and is about to be handed over to the engine. */
  readonly onCommit: (extents: SortedRuns) => void;
  /** Takes data that is to be moved between two commits; undefined if there is none. */
  readonly takeMoves: () => Moves | undefined;
  /** Snapshots, and what other processes ask for. */
  readonly marks: () => Pick<Marks, "failure" | "takeAll" | "wanted" | "owes">;
  /** Waits before a commit, if writes have outrun the collection of garbage. */
  readonly catchUp: () => Promise<void>;
  /** All reads of the engine are newer than so many commits. */
  readonly onQuiet: (commits: number) => void;
  /** The drain has stopped for good. */
  readonly onStop: (error: UblkError) => void;
  /** Waits, for tests. @default A timer */
  readonly timer?: (ms: number, call: () => void) => () => void;
}

/** Somebody who waits until the store has something. */
interface Waiter {
  readonly sequence: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

type PacedDrainer = Pick<Drainer, "commit" | "move" | "finish" | "owesCommit">;

/** Decides when to drain. */
export class DrainPace implements Drain {
  /** The sequence of the last batch that the store has. */
  drainedSequence = 0;
  /** Nothing is written to the journal any more. */
  hasJournalFailed = false;
  /** Commits so far. */
  commits = 0;
  /** How often it has looked how far it may go. */
  looks = 0;
  readonly #parts: DrainPaceParts;
  readonly #timer: (ms: number, call: () => void) => () => void;
  #position = 0;
  #sequence = 0;
  #written = 0;
  #drainedWritten = 0;
  #drainer: PacedDrainer | undefined = undefined;
  /** When the oldest batch came that the store does not have; undefined if it has all. */
  #since: number | undefined = undefined;
  /** Everything up to this sequence is to be drained at once. */
  #wanted = -1;
  /** The next commit is to be made at once: the journal is full. */
  #isHurried = false;
  /** The drainer is at work. */
  #isCommitting = false;
  #underWay: Promise<void> = Promise.resolve();
  #made: MadeCommit | undefined = undefined;
  #waiters: Waiter[] = [];
  #cancelTimer: (() => void) | undefined = undefined;
  readonly #backoff = new Backoff();
  #retryAt = 0;
  #failure = "";
  #stopped: UblkError | undefined = undefined;
  #isClosed = false;

  /** Takes over the parts. */
  constructor(parts: DrainPaceParts) {
    this.#parts = parts;
    this.#timer = parts.timer ?? startTimer;
  }

  /**
   * Begins to drain.
   *
   * @param from What the store has.
   * @param end What the journal has.
   */
  start(drainer: PacedDrainer, from: JournalEnd, end: JournalEnd): void {
    this.#drainer = drainer;
    this.drainedSequence = this.#sequence = from.sequence;
    this.#drainedWritten = from.written;
    this.published(end.position, end.sequence, end.written);
  }

  /** Why the drain has stopped for good, if it has. */
  get stopped(): UblkError | undefined {
    return this.#stopped;
  }

  /** Why the store cannot take anything at the moment, in a line; empty if it can. */
  get failure(): string {
    return this.#failure;
  }

  /** What was published last. */
  get last(): Published {
    return { position: this.#position, sequence: this.#sequence, written: this.#written };
  }

  /** Bytes of data that the journal has had in all. */
  get written(): number {
    return this.#written;
  }

  /** Bytes of data that the journal has and the store does not. */
  get lagBytes(): number {
    return this.#written - this.#drainedWritten;
  }

  published(position: number, sequence: number, written: number): void {
    assert(sequence >= this.#sequence, "the journal does not go back");
    this.#position = position;
    this.#sequence = sequence;
    this.#written = written;
    if (sequence > this.drainedSequence) this.#since ??= this.#parts.seam.clock();
    this.#look();
  }

  hurry(): void {
    if (this.#isHurried) return;
    this.#isHurried = true;
    this.#look();
  }

  commit(): Commit | undefined {
    if (this.#made === undefined) return undefined;
    return commitOf(this.#made);
  }

  taken(): void {
    assert(this.#made !== undefined, "a commit is taken over once");
    this.#made = undefined;
    this.#look();
  }

  quiet(commits: number): void {
    this.#parts.onQuiet(commits);
  }

  /**
   * Resolves once the store has everything that was published before.
   *
   * @throws {UblkError} Why the drain has stopped for good.
   */
  async sync(): Promise<void> {
    const sequence = this.#sequence;
    if (sequence <= this.drainedSequence && !this.#parts.marks().owes) return;
    if (this.#stopped !== undefined) throw this.#stopped;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiters.push({ sequence, resolve, reject });
    this.#wanted = Math.max(this.#wanted, sequence);
    this.#retryAt = 0;
    this.#look();
    await promise;
  }

  /** Begins no further commit, and waits for the one under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    await this.#underWay;
    const error = this.#stopped ?? new UblkError("ABORTED", {
      operation: "drain",
      reason: this.#failure === "" ? "the volume was closed" : this.#failure,
    });
    for (const { reject } of this.#waiters.splice(0)) reject(error);
  }

  /** Begins a commit if it is time, or sets a timer. */
  #look(): void {
    const isBusy = this.#isCommitting || this.#made !== undefined;
    const isOver = this.#isClosed || this.#stopped !== undefined;
    if (this.#drainer === undefined || isBusy || isOver) return;
    const { owesCommit } = this.#drainer;
    const mayMove = !owesCommit && this.#parts.seam.clock() >= this.#retryAt;
    const moves = mayMove ? this.#parts.takeMoves() : undefined;
    if (moves !== undefined) {
      this.#isCommitting = true;
      this.#underWay = this.#commit(moves);
      return;
    }
    const marks = this.#parts.marks();
    const isIdle = this.#sequence <= this.drainedSequence && !marks.owes;
    if (isIdle && !owesCommit) return;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    const now = this.#parts.seam.clock();
    const isWanted = owesCommit || this.#isHurried || this.#wanted > this.drainedSequence ||
      this.lagBytes >= COMMIT_BYTES || marks.wanted >= 0;
    const due = Math.max(this.#retryAt, isWanted ? now : this.#since! + COMMIT_MS);
    if (due <= now) {
      this.#isCommitting = true;
      this.#underWay = this.#commit();
    } else {
      this.#cancelTimer = this.#timer(due - now, () => {
        this.#cancelTimer = undefined;
        this.#look();
      });
    }
  }

  /** Nothing is written to the journal any more. */
  journalFailed(): void {
    this.hasJournalFailed = true;
  }

  /** Data waits to be moved. */
  moves(): void {
    this.#look();
  }

  /** Another process has asked for something. */
  asked(): void {
    const marks = this.#parts.marks();
    if (marks.takeAll()) this.#wanted = this.#sequence;
    if (marks.failure !== undefined) this.fail(marks.failure);
    else this.#look();
  }

  async #commit(moves?: Moves): Promise<void> {
    // Never within a call of the engine, nor before what it does is complete.
    await undefined;
    try {
      const now = this.#parts.seam.clock();
      this.looks++;
      const made = await this.#make(moves);
      this.#backoff.succeeded();
      this.#retryAt = 0;
      if (this.#failure !== "") this.#parts.report("the store takes data again");
      this.#failure = "";
      if (made !== undefined) this.#parts.onCommit(made.extents);
      this.#made = made;
      if (made?.end !== undefined) {
        this.#isHurried = false;
        this.commits++;
        this.drainedSequence = made.end.sequence;
        this.#drainedWritten = made.end.written;
        this.#since = this.drainedSequence < this.#sequence ? now : undefined;
      }
      this.#tellWaiters();
    } catch (error) {
      this.#failed(error);
    }
    this.#isCommitting = false;
    if (this.#made !== undefined) this.#parts.wake();
    else this.#look();
  }

  async #make(moves: Moves | undefined): Promise<MadeCommit | undefined> {
    const drainer = this.#drainer!;
    if (drainer.owesCommit) return await drainer.finish();
    if (moves !== undefined) return await drainer.move(moves);
    await this.#parts.catchUp();
    return await drainer.commit(this.#position, this.#parts.seam.now());
  }

  #tellWaiters(): void {
    // What was taken before belongs to it.
    if (this.#parts.marks().owes) return;
    this.#waiters = this.#waiters.filter(({ sequence, resolve }) => {
      if (sequence > this.drainedSequence) return true;
      resolve();
      return false;
    });
  }

  #failed(error: unknown): void {
    const { report, seam, counters } = this.#parts;
    if (mayPass(error)) {
      counters.add(AT.storeFailures, 1);
      this.#retryAt = seam.clock() + this.#backoff.next();
      if (error.message !== this.#failure) report(`${error.message}; it is tried again`);
      this.#failure = error.message;
      return;
    }
    this.fail(error);
  }

  /** Stops the drain for good. */
  fail(error: unknown): void {
    if (this.#stopped !== undefined) return;
    const { report, onStop } = this.#parts;
    this.#stopped = isUblkError(error) ? error : new UblkError("UNEXPECTED", {
      operation: "drain",
      reason: thrownText(error),
      hint: "this is a mistake in ublk; the journal has everything",
      cause: error,
    });
    report(this.#stopped.message);
    for (const { reject } of this.#waiters.splice(0)) reject(this.#stopped);
    onStop(this.#stopped);
  }
}
