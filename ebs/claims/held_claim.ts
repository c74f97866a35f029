/**
 * A claim that this node has, and its end.
 *
 * The holder counts from before it sent the write that made the claim or renewed it last, and the bucket
 * from when it had it. Besides, the holder counts a sixteenth less. So it regards the claim as lost while
 * nobody else could have got it:
 *
 * ```
 *   holder   ──●── sends a renewal ───────── 15/16 of the life ─────────▶ lost: the mount ends
 *   bucket         ──●── has it ───────────────────── the life ─────────────────▶ free for others
 * ```
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";
import type { Claim, Reason } from "../exclusion.ts";

/** The holder counts so much less than the bucket, for clocks that go wrong and timers that are late. */
export const HOLDERS_PART = 15 / 16;

/** The parts of a {@linkcode HeldClaim}. */
export interface HeldClaimParts {
  /** The volume's name. */
  readonly volume: string;
  /** The node's name. */
  readonly holder: string;
  /** The revision that won. */
  readonly generation: number;
  /** Its random id. */
  readonly nonce: string;
  /** When it was claimed, in ISO 8601. */
  readonly acquiredAt: string;
  /** Its life in milliseconds. */
  readonly ttlMs: number;
  /** The time from which that counts: before the write that made it was sent. */
  readonly sentAt: number;
  /** The clock of that time. */
  readonly elapsed: () => number;
  /** Gives it up in the bucket. */
  readonly giveUp: (claim: HeldClaim) => Promise<void>;
}

/** A claim that this node has. */
export class HeldClaim implements Claim {
  /** The volume's name. */
  readonly volume: string;
  readonly generation: number;
  readonly holder: string;
  readonly lost: Promise<Reason>;
  /** Its random id. */
  readonly nonce: string;
  /** When it was claimed, in ISO 8601. */
  readonly acquiredAt: string;
  /** The revision of the last write that is known to have arrived. */
  revision: number;
  /** When it is to be renewed. */
  dueAt = 0;
  /** The renewal under way. */
  underWay: Promise<void> | undefined = undefined;
  /** Renewals that failed since one succeeded. */
  failures = 0;
  readonly #parts: HeldClaimParts;
  readonly #lost = Promise.withResolvers<Reason>();
  #endAt: number;
  #state: "held" | "lost" | "released" = "held";
  #release: Promise<void> | undefined = undefined;

  /** Takes over the parts. */
  constructor(parts: HeldClaimParts) {
    assert(parts.ttlMs > 0, "a claim runs out");
    this.#parts = parts;
    this.volume = parts.volume;
    this.holder = parts.holder;
    this.generation = this.revision = parts.generation;
    this.nonce = parts.nonce;
    this.acquiredAt = parts.acquiredAt;
    this.lost = this.#lost.promise;
    this.#endAt = this.#endOf(parts.sentAt);
  }

  /** Whether nobody else can have it. It needs no timer. */
  get isHeld(): boolean {
    return this.#state === "held" && this.#parts.elapsed() < this.#endAt;
  }

  /** It has neither been lost nor released. */
  get isKept(): boolean {
    return this.#state === "held";
  }

  /** When it is lost unless it is renewed. */
  get endAt(): number {
    return this.#endAt;
  }

  /** A renewal that was sent at a time has arrived. */
  renewed(revision: number, sentAt: number): void {
    if (this.#state !== "held") return;
    assert(revision > this.revision, "revisions grow");
    this.revision = revision;
    this.failures = 0;
    this.#endAt = this.#endOf(sentAt);
  }

  /** It was gone from the bucket, and the claim that was made again at a time has arrived. */
  restored(revision: number, sentAt: number): void {
    if (this.#state !== "held") return;
    // Revisions of a bucket that was made again begin anew.
    this.revision = revision;
    this.failures = 0;
    this.#endAt = this.#endOf(sentAt);
  }

  /** It may be another's. */
  lose(reason: Reason): void {
    if (this.#state !== "held") return;
    this.#state = "lost";
    this.#lost.resolve(reason);
  }

  async release(): Promise<void> {
    if (this.#state === "held") this.#state = "released";
    await (this.#release ??= this.#parts.giveUp(this));
  }

  #endOf(sentAt: number): number {
    return sentAt + this.#parts.ttlMs * HOLDERS_PART;
  }
}
