/**
 * The requests that wait until what was answered before them is durable: FLUSHes, and writes with
 * FUA.
 *
 * A sync covers the batches that were in the journal when it *began*. Requests that come while it runs
 * wait for the next one. One that fails is the end: the kernel forgets what it could not write, and
 * would let the next sync succeed. Where all is durable already, because batches were written so
 * ({@linkcode Durability}), a FLUSH needs no sync.
 *
 * @module
 */

import type { EngineHost } from "../../disk/engine.ts";
import { EIO } from "../../uapi/errno.ts";
import { assert, fail } from "../../uapi/error.ts";
import type { Lease } from "../lease.ts";
import { SYNC, tokenOf } from "../tokens.ts";
import type { Durability } from "./durability.ts";
import type { Requests } from "./requests.ts";

/** How far a journal is. */
export interface JournalProgress {
  /** All before this position is in the journal. */
  readonly completedPosition: number;
  /** The sequence of the last batch that is in the journal. */
  readonly completedSequence: number;
  /** All before this position is in the store, and its files may be used again. */
  readonly trimmedPosition: number;
}

/** The parts of {@linkcode Flushes}. */
export interface FlushesParts {
  /** Descriptors of the journal's files. */
  readonly fds: readonly number[];
  /** Bytes of a segment. */
  readonly size: number;
  /** The journal. */
  readonly journal: JournalProgress;
  /** What of it is durable. */
  readonly durability: Durability;
  /** The state of requests. */
  readonly requests: Requests;
  /** Only data in the store counts as durable. */
  readonly isDurableInStore: boolean;
  /** Without it no FLUSH is answered. */
  readonly lease: Pick<Lease, "isHeld">;
  /** A sync has failed. */
  readonly onFailure: (result: number) => void;
}

/** Makes durable what requests wait for, and answers them. */
export class Flushes {
  /** Requests wait until the store has something. */
  lacksStore = false;
  readonly #parts: FlushesParts;
  #host!: EngineHost;
  /** What requests wait for is durable, but the lease has run out: somebody else may have the volume. */
  #lacksLease = false;
  #hasFailed = false;
  /** Requests for the next sync, and those that the one under way answers. */
  #next: Int32Array<ArrayBuffer>;
  #nextCount = 0;
  #current: Int32Array<ArrayBuffer>;
  #currentCount = 0;
  /** Operations of the sync under way, and what it makes durable. */
  #syncs = 0;
  #syncPosition = 0;
  #syncSequence = 0;

  /** Takes over the parts. */
  constructor(parts: FlushesParts) {
    this.#parts = parts;
    this.#next = new Int32Array(parts.requests.count);
    this.#current = new Int32Array(parts.requests.count);
  }

  /** Gets the host, before anything else. */
  start(host: EngineHost): void {
    this.#host = host;
  }

  /** A request waits. */
  add(request: number): void {
    assert(this.#nextCount < this.#next.length, "no more requests flush than there are");
    this.#next[this.#nextCount++] = request;
  }

  /** Begins a sync if requests wait for one. */
  begin(): void {
    if (this.#lacksLease) this.#answer();
    if (this.#nextCount > 0 && this.#syncs === 0 && !this.lacksStore && !this.#lacksLease) {
      this.#sync();
    }
  }

  #sync(): void {
    const { fds, size, journal, durability, isDurableInStore } = this.#parts;
    [this.#current, this.#next] = [this.#next, this.#current];
    this.#currentCount = this.#nextCount;
    this.#nextCount = 0;
    this.#syncPosition = journal.completedPosition;
    this.#syncSequence = journal.completedSequence;
    if (isDurableInStore) {
      this.lacksStore = true;
      return this.storeHas();
    }
    // Batches in the store are durable, and their segments may be in use again. To sync from the last
    // sync on failed an assertion as soon as the whole journal was used without any flush.
    const durable = Math.max(durability.position, journal.trimmedPosition);
    if (this.#syncPosition <= durable) return this.#stored();
    const first = Math.floor(durable / size);
    const last = Math.floor((this.#syncPosition - 1) / size);
    assert(last - first < fds.length, "a sync covers no segment twice");
    for (let segment = first; segment <= last; segment++) {
      this.#syncs++;
      this.#host.sync(fds[segment % fds.length], tokenOf(SYNC, segment % fds.length));
    }
  }

  /** The sync of a file has completed. */
  synced(result: number): void {
    if (--this.#syncs < 0) fail("no more syncs are done than were begun");
    if (this.#hasFailed) return;
    if (result < 0) return this.#parts.onFailure(result);
    if (this.#syncs > 0) return;
    const { durability, journal } = this.#parts;
    durability.synced(this.#syncPosition, this.#syncSequence, journal.trimmedPosition);
    this.#answer();
  }

  /** Answers the requests that wait for the store, if it has what they cover. */
  storeHas(): void {
    if (!this.lacksStore || this.#parts.journal.trimmedPosition < this.#syncPosition) return;
    this.lacksStore = false;
    this.#stored();
  }

  /** The store has what the sync was to cover. */
  #stored(): void {
    const { durability, journal } = this.#parts;
    durability.stored(this.#syncPosition, this.#syncSequence, journal.trimmedPosition);
    this.#answer();
  }

  /** Answers the requests of the last sync, unless somebody else may have the volume by now. */
  #answer(): void {
    const { requests, lease } = this.#parts;
    this.#lacksLease = !lease.isHeld;
    if (this.#lacksLease) return;
    for (let nth = 0; nth < this.#currentCount; nth++) requests.answer(this.#current[nth], 0);
    this.#currentCount = 0;
  }

  /** Answers overdue requests with EIO, unless a sync is under way for them. */
  giveUp(isOverdue: (request: number) => boolean): void {
    const { requests } = this.#parts;
    const answered = (request: number) => {
      if (!isOverdue(request)) return false;
      requests.answer(request, -EIO);
      return true;
    };
    this.#nextCount = without(this.#next, this.#nextCount, answered);
    if (this.#syncs === 0) {
      this.#currentCount = without(this.#current, this.#currentCount, answered);
    }
  }

  /** Whether such a request waits for a sync that is under way. */
  syncsFor(chooses: (request: number) => boolean): boolean {
    return this.#syncs > 0 && this.#current.subarray(0, this.#currentCount).some(chooses);
  }

  /** Nothing becomes durable any more: answers all with EIO. */
  fail(): void {
    const { requests } = this.#parts;
    this.#hasFailed = true;
    for (let nth = 0; nth < this.#currentCount; nth++) requests.answer(this.#current[nth], -EIO);
    for (let nth = 0; nth < this.#nextCount; nth++) requests.answer(this.#next[nth], -EIO);
    this.#currentCount = this.#nextCount = 0;
    this.lacksStore = this.#lacksLease = false;
  }
}

/** Takes numbers out of a list. @returns How many are left. */
function without(
  list: Int32Array<ArrayBuffer>,
  count: number,
  takes: (request: number) => boolean,
): number {
  let left = 0;
  for (let nth = 0; nth < count; nth++) if (!takes(list[nth])) list[left++] = list[nth];
  return left;
}
