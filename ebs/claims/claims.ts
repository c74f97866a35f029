/**
 * The claims of one node: makes them, and renews all of them by one loop.
 *
 * The loop wakes when the first is due, and renews whatever is due soon in the same turn, a bounded
 * number at a time. Each claim's first renewal is due at a random moment, so that those that were made
 * together do not stay together.
 *
 * @module
 */

import { Backoff } from "../../store/retry.ts";
import { startIdleTimer } from "../../store/timer.ts";
import { assert, UblkError } from "../../uapi/error.ts";
import type { Seam } from "../../volume/seam.ts";
import type { Exclusion, ExclusionTerms } from "../exclusion.ts";
import { HeldClaim } from "./held_claim.ts";
import { type KeyValue, type KeyValueEntry, KeyValueError } from "./key_value.ts";
import { type ClaimRecord, decodeClaim, encodeClaim, keyOf } from "./record.ts";

/** A claim is renewed after this part of its life, so that attempts may fail and be made again. */
const RENEWED_AFTER = 1 / 3;
/** Claims that are due within this part of a life are renewed in one turn. */
const TOGETHER = 1 / 90;
/** Between attempts of one claim: the first pause, and the longest as a part of its life. */
const PAUSE_MS = 250;
const LONGEST_PAUSE = 1 / 8;
/** Renewals under way at a time. */
const AT_ONCE = 32;
/** An attempt to claim gives up after this part of a life, if the bucket cannot be reached. */
const PATIENCE = 1 / 3;

/** Why a claim is lost with the claims of its node. */
const ENDED = "this node ends";

/** The parts of {@linkcode Claims}. */
export interface ClaimsParts {
  /** The bucket, whose entries run out. */
  readonly bucket: KeyValue;
  /** The node's name, which no other has. */
  readonly node: string;
  /** Time and randomness. */
  readonly seam: Pick<Seam, "now" | "elapsed" | "uuid">;
  /**
   * From 0 to 1.
   *
   * @default {Math.random}
   */
  readonly random?: () => number;
  /**
   * Calls later, in milliseconds, unless it is cancelled by what it returns.
   *
   * @default A timer that does not keep the process
   */
  readonly timer?: (ms: number, call: () => void) => () => void;
}

/** Claims volumes for a node. */
export class Claims implements Exclusion, Disposable {
  readonly terms: ExclusionTerms;
  readonly #parts: ClaimsParts;
  readonly #random: () => number;
  readonly #timer: (ms: number, call: () => void) => () => void;
  readonly #held = new Map<string, HeldClaim>();
  readonly #claiming = new Set<string>();
  #underWay = 0;
  #cancel: (() => void) | undefined = undefined;
  #wakesAt = Infinity;
  #isEnded = false;

  /** Takes over the parts. */
  constructor(parts: ClaimsParts) {
    assert(parts.bucket.ttlMs > 0, "claims run out");
    this.#parts = parts;
    const claimTtlSeconds = parts.bucket.ttlMs / 1000;
    this.terms = { scope: "cluster", claimTtlSeconds, fencesLostClaim: true };
    this.#random = parts.random ?? Math.random;
    this.#timer = parts.timer ?? startIdleTimer;
  }

  /** The claims that the node has, by volume. */
  get held(): ReadonlyMap<string, HeldClaim> {
    return this.#held;
  }

  /**
   * Claims a volume. What an earlier run of this node left is taken over at once.
   *
   * @throws {UblkError} `VOLUME_BUSY` if somebody else has it, or this node.
   * @throws {KeyValueError} if the bucket cannot be reached.
   */
  async claim(volume: string): Promise<HeldClaim> {
    const { node } = this.#parts;
    if (this.#held.has(volume) || this.#claiming.has(volume)) throw this.#busy(volume, node);
    this.#claiming.add(volume);
    try {
      const claim = await this.#win(volume);
      if (this.#isEnded) claim.lose(ENDED);
      else this.#held.set(volume, claim);
      claim.dueAt = this.#parts.seam.elapsed() + this.#renewMs * this.#random();
      this.#wakeBy(claim.dueAt);
      return claim;
    } finally {
      this.#claiming.delete(volume);
    }
  }

  /** Reads from the bucket who has a volume. */
  async holder(volume: string): Promise<ClaimRecord | undefined> {
    const entry = await this.#parts.bucket.get(keyOf(volume));
    if (entry === undefined) return undefined;
    const record = decodeClaim(entry.value);
    return { ...record, generation: record.generation || entry.revision };
  }

  /** Renews nothing any more. What is claimed runs out. */
  [Symbol.dispose](): void {
    this.#isEnded = true;
    for (const claim of this.#held.values()) claim.lose(ENDED);
    this.#held.clear();
    this.#cancel?.();
    this.#cancel = undefined;
  }

  get #renewMs(): number {
    return this.#parts.bucket.ttlMs * RENEWED_AFTER;
  }

  async #win(volume: string): Promise<HeldClaim> {
    const { bucket, node, seam } = this.#parts;
    const [key, nonce] = [keyOf(volume), seam.uuid()];
    const acquiredAt = new Date(seam.now()).toISOString();
    const value = encodeClaim({ owner: node, generation: 0, acquiredAt, nonce });
    const firstAt = seam.elapsed();
    const made = (generation: number, sentAt: number) =>
      new HeldClaim({
        ...{ volume, holder: node, generation, nonce, acquiredAt, sentAt, ttlMs: bucket.ttlMs },
        ...{ elapsed: () => seam.elapsed(), giveUp: (claim: HeldClaim) => this.#giveUp(claim) },
      });
    const backoff = new Backoff(this.#random, PAUSE_MS, bucket.ttlMs * LONGEST_PAUSE);
    for (;;) {
      const sentAt = seam.elapsed();
      const isLate = sentAt >= firstAt + bucket.ttlMs * PATIENCE;
      try {
        const created = await bucket.create(key, value);
        if (created !== undefined) return made(created, sentAt);
        const entry = await bucket.get(key);
        if (entry !== undefined) {
          const { owner, nonce: found } = decodeClaim(entry.value);
          // An attempt whose answer was lost: it may have arrived at any time since the first.
          if (found === nonce) return made(entry.revision, firstAt);
          if (owner !== node) throw this.#busy(volume, owner);
          const taken = await bucket.update(key, value, entry.revision);
          if (taken !== undefined) return made(taken, sentAt);
        }
        if (isLate) throw this.#busy(volume, "somebody");
      } catch (error) {
        if (!(error instanceof KeyValueError) || isLate) throw error;
      }
      // The bucket is away, or the claim went or changed between two calls.
      await this.#pause(backoff.next());
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#timer(ms, resolve));
  }

  #busy(volume: string, owner: string): UblkError {
    return new UblkError("VOLUME_BUSY", {
      operation: `claim ${volume}`,
      reason: `${owner} has it`,
      hint:
        `detach it there first; a node that is dead loses it within ${this.terms.claimTtlSeconds} s`,
    });
  }

  #wakeBy(at: number): void {
    if (this.#held.size === 0) return;
    if (this.#cancel !== undefined && at >= this.#wakesAt) return;
    this.#cancel?.();
    this.#wakesAt = at;
    this.#cancel = this.#timer(Math.max(0, at - this.#parts.seam.elapsed()), () => {
      this.#cancel = undefined;
      this.#turn();
    });
  }

  /** Renews what is due, and loses what has run out. */
  #turn(): void {
    const now = this.#parts.seam.elapsed();
    const soon = now + this.#parts.bucket.ttlMs * TOGETHER;
    let next = Infinity;
    for (const claim of this.#held.values()) {
      if (!claim.isKept) continue;
      if (now >= claim.endAt) {
        this.#lose(claim, "it could not be renewed in time");
        continue;
      }
      next = Math.min(next, claim.endAt);
      if (claim.underWay !== undefined) continue;
      if (claim.dueAt > soon) next = Math.min(next, claim.dueAt);
      else if (this.#underWay < AT_ONCE) this.#renew(claim);
    }
    if (next < Infinity) this.#wakeBy(next);
  }

  #renew(claim: HeldClaim): void {
    this.#underWay++;
    claim.underWay = this.#attempt(claim).finally(() => {
      const wasFull = this.#underWay-- === AT_ONCE;
      claim.underWay = undefined;
      // Others may have waited for room.
      if (wasFull) this.#wakeBy(this.#parts.seam.elapsed());
      else if (this.#held.has(claim.volume)) this.#wakeBy(claim.dueAt);
    });
  }

  async #attempt(claim: HeldClaim): Promise<void> {
    const { bucket, node, seam } = this.#parts;
    const { volume, generation, acquiredAt, nonce } = claim;
    const sentAt = seam.elapsed();
    try {
      const value = encodeClaim({ owner: node, generation, acquiredAt, nonce });
      const revision = await bucket.update(keyOf(volume), value, claim.revision);
      if (revision !== undefined) {
        claim.renewed(revision, sentAt);
        claim.dueAt = sentAt + this.#renewMs * (1 - this.#random() / 16);
        return;
      }
      const entry = await bucket.get(keyOf(volume));
      if (entry === undefined) return await this.#restore(claim, value);
      if (!isOf(claim, entry)) {
        return this.#lose(claim, `${decodeClaim(entry.value).owner} has claimed it`);
      }
      // A renewal arrived whose answer was lost. It counts from no known time, so one more is made.
      claim.revision = entry.revision;
      claim.dueAt = seam.elapsed();
    } catch {
      // Whatever it was: one that were due at once would be renewed without a pause, as often as it fails.
      const longest = bucket.ttlMs * LONGEST_PAUSE;
      const ms = Math.min(longest, PAUSE_MS * 2 ** claim.failures++);
      claim.dueAt = seam.elapsed() + ms * (1 + this.#random()) / 2;
    }
  }

  /**
   * Claims again what is gone from the bucket before its time, unless another has claimed it since. It was
   * given up, and so a bucket that was lost ended the mounts of all nodes.
   */
  async #restore(claim: HeldClaim, value: Uint8Array): Promise<void> {
    const { bucket, seam } = this.#parts;
    if (!claim.isHeld) return this.#lose(claim, "it ran out, or somebody deleted it");
    const sentAt = seam.elapsed();
    const revision = await bucket.create(keyOf(claim.volume), value);
    if (revision === undefined) claim.dueAt = seam.elapsed();
    else {
      claim.restored(revision, sentAt);
      claim.dueAt = sentAt + this.#renewMs * (1 - this.#random() / 16);
    }
  }

  #lose(claim: HeldClaim, reason: string): void {
    if (this.#held.get(claim.volume) === claim) this.#held.delete(claim.volume);
    claim.lose(reason);
  }

  /** Deletes a claim, if it still stands in the bucket. */
  async #giveUp(claim: HeldClaim): Promise<void> {
    const { bucket } = this.#parts;
    const key = keyOf(claim.volume);
    await claim.underWay;
    try {
      if (!await bucket.delete(key, claim.revision)) {
        const entry = await bucket.get(key);
        if (entry !== undefined && isOf(claim, entry)) await bucket.delete(key, entry.revision);
      }
    } catch (error) {
      // It runs out instead.
      if (!(error instanceof KeyValueError)) throw error;
    } finally {
      if (this.#held.get(claim.volume) === claim) this.#held.delete(claim.volume);
    }
  }
}

function isOf({ nonce }: HeldClaim, entry: KeyValueEntry): boolean {
  return decodeClaim(entry.value).nonce === nonce;
}
