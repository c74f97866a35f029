/**
 * The drain's side of a simulated server, as its engine sees it.
 *
 * @module
 */

import type { Published } from "../../volume/drain/board.ts";
import { commitOf, type MadeCommit } from "../../volume/drain/drainer.ts";
import type { Commit, Drain } from "../../volume/engine.ts";
import type { VolumeHistory } from "./history.ts";

/** Takes what the engine tells, and hands commits over. */
export class SimDrain implements Drain {
  /** All before this position is in the journal. */
  position = 0;
  /** The last batch before that. */
  sequence = 0;
  /** Bytes of data written before that. */
  written = 0;
  /** The commit that the engine is to take over. */
  made: MadeCommit | undefined;
  /** So many commits no read of the engine is older than. */
  quietAfter = 0;
  /** How often the engine has asked to hurry. */
  hurries = 0;
  /** When the engine told last, by the machine's clock. Clients learn of their answers after that. */
  publishedAt: number;
  /** Nothing will be drained any more. */
  hasFailed = false;
  /** Nothing is written to the journal any more. */
  hasJournalFailed = false;
  /** The clients' knowledge of the volume. */
  history: VolumeHistory;
  /** Positions that were published, and when; the oldest first. */
  readonly #published: { position: number; time: number }[] = [];

  /** Begins with what is known of the volume. */
  constructor(history: VolumeHistory) {
    this.history = history;
    this.publishedAt = history.now();
  }

  /** The journal had this when the engine was attached. */
  recovered({ position, sequence, written }: Published): void {
    this.position = position;
    this.sequence = sequence;
    this.written = written;
    // Without all of that, nobody knows what the store has of what was answered before.
    this.#published.push({ position, time: 0 });
  }

  published(position: number, sequence: number, written: number): void {
    this.position = position;
    this.sequence = sequence;
    this.written = written;
    this.publishedAt = this.history.now();
    this.#published.push({ position, time: this.history.tick() });
  }

  journalFailed(): void {
    this.hasJournalFailed = true;
  }

  hurry(): void {
    this.hurries++;
  }

  commit(): Commit | undefined {
    if (this.made === undefined) return undefined;
    return commitOf(this.made);
  }

  taken(): void {
    this.made = undefined;
  }

  quiet(commits: number): void {
    this.quietAfter = commits;
  }

  /**
   * The store has everything before a position, and so all that was answered before more was published:
   * a write is published before it is answered.
   */
  stored(position: number): void {
    const more = this.#published.findIndex((one) => one.position > position);
    this.history.stored(more < 0 ? this.history.tick() : this.#published[more].time);
    this.#published.splice(0, more < 0 ? this.#published.length : more);
  }
}
