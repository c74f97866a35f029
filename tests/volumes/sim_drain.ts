/**
 * The drain's side of a simulated server, as its engine sees it.
 *
 * @module
 */

import { commitOf, type MadeCommit } from "../../volume/drain/drainer.ts";
import type { Commit, Drain } from "../../volume/engine.ts";
import type { VolumeHistory } from "./history.ts";

/** Takes what the engine tells, and hands commits over. */
export class SimDrain implements Drain {
  /** All before this position is in the journal. */
  position = 0;
  /** Bytes of data written before that. */
  written = 0;
  /** The commit that the engine is to take over. */
  made: MadeCommit | undefined;
  /** So many commits no read of the engine is older than. */
  quietAfter = 0;
  /** How often the engine has asked to hurry. */
  hurries = 0;
  /**
   * When the engine told last, by the machine's clock. Clients learn of their answers when the
   * engine's batch has ended, and so after that.
   */
  publishedAt: number;
  /** The clients' knowledge of the volume. */
  history: VolumeHistory;
  /** Positions that were published, and when; the oldest first. */
  readonly #published: { position: number; time: number }[] = [];

  /** Begins with what is known of the volume. */
  constructor(history: VolumeHistory) {
    this.history = history;
    this.publishedAt = history.now();
  }

  published(position: number, _sequence: number, written: number): void {
    this.position = position;
    this.written = written;
    this.publishedAt = this.history.now();
    this.#published.push({ position, time: this.history.tick() });
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

  /** The store has everything before a position: notes what was answered by then. */
  stored(position: number): void {
    let time = 0;
    while (this.#published.length > 0 && this.#published[0].position <= position) {
      time = this.#published.shift()!.time;
    }
    this.history.stored(time);
  }
}
