/**
 * The writing end of the journal: collects what is written in batches, appends them, and makes them
 * durable. It never waits: operations and their completions come and go through the engine's host.
 *
 * **Order.** Batches complete in any order, and count in theirs: a request is answered once its
 * batch and all before it are in the journal, since a reader stops at the first gap.
 *
 * **Durability.** A sync covers the batches that were in the journal when it *began*. Flushes that
 * come while it runs wait for the next one. One that fails is the end: the kernel forgets what it
 * could not write, and would let the next sync succeed. Where all is durable already, because batches
 * were written so ({@linkcode Durability}), a FLUSH needs no sync.
 *
 * @module
 */

import type { EngineHost } from "../../disk/engine.ts";
import { EAGAIN, EINTR, EIO } from "../../uapi/errno.ts";
import { assert, fail } from "../../uapi/error.ts";
import type { SegmentHeader } from "../format/journal.ts";
import { SEGMENT_HEADER_BYTES } from "../format/journal_layout.ts";
import { AT, type VolumeCounters } from "../counters.ts";
import type { Lease } from "../lease.ts";
import type { Batch } from "./batch.ts";
import { Durability } from "./durability.ts";
import type { ScannedEnd } from "./end.ts";
import type { Requests } from "./requests.ts";
import { SYNC, tokenOf, WRITE } from "../tokens.ts";

/** The parts of a {@linkcode JournalWriter}. */
export interface JournalWriterParts {
  /** Descriptors of the journal's files. */
  readonly fds: readonly number[];
  /** Fields of the headers of segments, besides their number and what they continue. */
  readonly identity: Pick<SegmentHeader, "volume" | "journal" | "epoch" | "blockSize" | "size">;
  /** Where it continues. All of it is durable. */
  readonly end: ScannedEnd;
  /** The first position that is still needed. */
  readonly trimmed: number;
  /** Batches to use in turn, all of them empty. */
  readonly batches: readonly Batch[];
  /** The state of requests. */
  readonly requests: Requests;
  /** Counts what is written. */
  readonly counters: VolumeCounters;
  /** Tells what was written where, before it is written. */
  readonly onAppend: (batch: Batch) => void;
  /** Tells, once, that nothing can be written any more. */
  readonly onFailure: (words: string) => void;
  /** Whether data of a segment is still being read; its file is not used again as long as it is. */
  readonly isRead: (file: number) => boolean;
  /** Only data in the store counts as durable. */
  readonly isDurableInStore: boolean;
  /** A durable write costs about as much as a plain one. */
  readonly writesDurably: boolean;
  /** Without it no FLUSH is answered. */
  readonly lease: Pick<Lease, "isHeld">;
}

/** The largest sectors of disks: what is left of a short write begins with one. */
const SECTOR_BYTES = 4096;
/** Batches whose writing is under way, so that the next ones can collect more. */
const MAX_UNDER_WAY = 4;

/** Appends to the journal. */
export class JournalWriter {
  /** A negative errno once writing has failed, else 0. */
  failure = 0;
  /** The journal has no room for the batch that collects, until more of it is trimmed. */
  isFull = false;
  /** Flushes wait until the store has something. */
  lacksStore = false;
  /** What flushes wait for is durable, but the lease has run out: somebody else may have the volume. */
  #lacksLease = false;
  /** All before this position is in the journal. */
  completedPosition: number;
  /** The sequence of the last batch that is in the journal. */
  completedSequence: number;
  /** Bytes of data in all batches in the journal. */
  completedWritten: number;
  /** All before this position is in the store, and its files may be used again. */
  trimmedPosition: number;

  readonly #parts: JournalWriterParts;
  readonly #size: number;
  readonly #batches: readonly Batch[];
  readonly #durability: Durability;
  #host!: EngineHost;
  /** The batch that collects, if one does. */
  #open: Batch | undefined = undefined;
  /** The number of the batch that {@linkcode #open} was taken from last. */
  #turn = 0;
  /** Closed batches that do not count yet, the oldest first: `#batches` in turn from here. */
  #oldest = 0;
  #closed = 0;
  #underWay = 0;
  #position: number;
  #sequence: number;
  #chain: number;
  #written: number;
  /** Flushes for the next sync, and those that the one under way answers. */
  #next: Int32Array<ArrayBuffer>;
  #nextCount = 0;
  #current: Int32Array<ArrayBuffer>;
  #currentCount = 0;
  /** Operations of the sync under way, and what it makes durable. */
  #syncs = 0;
  #syncPosition = 0;
  #syncSequence = 0;

  /** Takes over the parts. */
  constructor(parts: JournalWriterParts) {
    const { end, trimmed, identity, batches, requests } = parts;
    assert(trimmed <= end.position, "what is needed ends with the journal");
    assert(batches.length >= 2, "one batch collects while another one is written");
    this.#parts = parts;
    this.#size = identity.size;
    this.#batches = batches;
    this.completedPosition = end.position;
    // Nobody waits for this disk if a FLUSH waits for the store.
    this.#durability = new Durability(end, parts.writesDurably && !parts.isDurableInStore);
    assert(end.next % identity.size === 0, "it continues with a segment");
    this.#position = end.next;
    this.#sequence = this.completedSequence = end.sequence;
    this.#written = this.completedWritten = end.written;
    this.#chain = end.chain;
    this.trimmedPosition = this.#trimmedBy(trimmed);
    this.#next = new Int32Array(requests.count);
    this.#current = new Int32Array(requests.count);
  }

  /** Gets the host, before anything else. */
  start(host: EngineHost): void {
    this.#host = host;
  }

  /** All before this position is durable in the journal. */
  get durablePosition(): number {
    return this.#durability.position;
  }

  /** Whether the journal lacks something of what was appended. */
  get lacks(): boolean {
    return this.#open !== undefined || this.#closed > 0;
  }

  /**
   * Appends a request's data, from the block on that {@linkcode Requests.done} names.
   *
   * @returns Whether all of it has found room. Otherwise call again when there is some.
   */
  write(request: number, block: number, count: number, data: Uint8Array<ArrayBuffer>): boolean {
    const { requests, identity } = this.#parts;
    for (;;) {
      const batch = this.#collecting();
      if (batch === undefined) return false;
      const done = requests.done[request];
      if (!batch.takesRequests) {
        if (!this.#close()) return false;
        continue;
      }
      const taken = batch.append(block + done, count - done, data, done * identity.blockSize);
      requests.done[request] += taken;
      if (done + taken === count) {
        batch.answers(request);
        return true;
      }
      if (!this.#close()) return false;
    }
  }

  /** Appends that blocks read as zeroes. @returns Whether that has found room. */
  hole(request: number, block: number, count: number): boolean {
    for (;;) {
      const batch = this.#collecting();
      if (batch === undefined) return false;
      if (batch.takesRequests && batch.hole(block, count)) {
        batch.answers(request);
        return true;
      }
      if (!this.#close()) return false;
    }
  }

  /** Answers a request once all that was answered before is durable. */
  flush(request: number): void {
    this.#durability.flush();
    this.#awaitDurable(request);
  }

  #awaitDurable(request: number): void {
    assert(this.#nextCount < this.#next.length, "no more requests flush than there are");
    this.#next[this.#nextCount++] = request;
  }

  /**
   * Sends what was collected, and begins a sync if flushes wait for one.
   *
   * @param mayClose The batch that collects may be closed.
   */
  batchEnd(mayClose: boolean): void {
    if (this.failure !== 0) return;
    if (mayClose && this.#open !== undefined && this.#underWay < MAX_UNDER_WAY) this.#close();
    if (this.#lacksLease) this.#answerFlushes();
    if (this.#nextCount > 0 && this.#syncs === 0 && !this.lacksStore && !this.#lacksLease) {
      this.#sync();
    }
  }

  /** Whether a batch collects. */
  get isCollecting(): boolean {
    return this.#open !== undefined;
  }

  /** Bytes of the journal that the store does not have yet. */
  get usedBytes(): number {
    return this.#position - this.trimmedPosition;
  }

  /** The same as a part of the journal, from 0 to 1. */
  get used(): number {
    return this.usedBytes / (this.#size * this.#parts.fds.length);
  }

  /** The batch that collects; undefined if none is free. */
  #collecting(): Batch | undefined {
    if (this.#open !== undefined) return this.#open;
    if (this.#closed === this.#batches.length) return undefined;
    const batch = this.#batches[this.#turn];
    if (batch.isUnderWay) return undefined;
    batch.reset();
    return this.#open = batch;
  }

  /**
   * Closes the batch that collects, and starts to write it.
   *
   * @returns False if the journal has no room for it: it stays open.
   */
  #close(): boolean {
    const batch = this.#open!;
    if (batch.isEmpty) return true;
    const size = this.#size;
    const bytes = batch.journalBytes;
    const { identity, fds } = this.#parts;
    let segment = Math.floor(this.#position / size);
    let begins = this.#position % size === 0;
    if (!begins && this.#position + bytes > (segment + 1) * size) {
      segment++;
      begins = true;
    }
    if (begins) {
      assert(SEGMENT_HEADER_BYTES + bytes <= size, "a batch fits a segment");
      this.isFull = !this.#isTrimmed(segment);
      // A reader is soon done.
      if (this.isFull || this.#parts.isRead(segment % fds.length)) return false;
      this.#position = segment * size + SEGMENT_HEADER_BYTES;
    }
    const header = begins
      ? { ...identity, segment, sequence: this.#sequence + 1, chain: this.#chain }
      : undefined;
    this.#chain = batch.close({
      position: this.#position,
      epoch: identity.epoch,
      sequence: ++this.#sequence,
      chain: this.#chain,
      synced: this.#durability.sequence,
      written: this.#written,
    }, header);
    this.#written += batch.blocks * identity.blockSize;
    this.#position = batch.end;
    this.#open = undefined;
    this.#closed++;
    batch.isDurable = this.#durability.closed(batch, this.#hasFua(batch));
    this.#parts.onAppend(batch);
    this.#send(this.#turn, fds[segment % fds.length]);
    this.#turn = (this.#turn + 1) % this.#batches.length;
    return true;
  }

  #hasFua(batch: Batch): boolean {
    const { fua } = this.#parts.requests;
    for (let nth = 0; nth < batch.requestCount; nth++) {
      if (fua[batch.requests[nth]] !== 0) return true;
    }
    return false;
  }

  /** Whether the file of a segment that is to begin holds nothing that the store lacks. */
  #isTrimmed(segment: number): boolean {
    const before = segment - this.#parts.fds.length;
    return (before + 1) * this.#size <= this.trimmedPosition;
  }

  #send(nth: number, fd: number): void {
    const batch = this.#batches[nth];
    const { writtenBytes } = batch;
    assert(writtenBytes % SECTOR_BYTES === 0, "whole sectors are written");
    const offset = batch.position % this.#size + writtenBytes;
    batch.isUnderWay = true;
    this.#underWay++;
    this.#host.write(
      batch.memory,
      batch.start + writtenBytes,
      batch.bytes - writtenBytes,
      fd,
      offset,
      tokenOf(WRITE, nth),
      batch.isDurable,
    );
  }

  /** The writing of a batch has completed. */
  written(nth: number, result: number): void {
    const batch = this.#batches[nth];
    if (!batch.isUnderWay) fail("a batch is written once");
    batch.isUnderWay = false;
    this.#underWay--;
    if (this.failure !== 0) return;
    if (result <= 0 && result !== -EINTR && result !== -EAGAIN) {
      // Nothing written at all would be tried for ever.
      return this.fail(result === 0 ? -EIO : result, "a write to the journal");
    }
    if (result > 0) batch.writtenBytes += result - result % SECTOR_BYTES;
    if (batch.writtenBytes < batch.bytes) {
      const { fds } = this.#parts;
      return this.#send(nth, fds[Math.floor(batch.position / this.#size) % fds.length]);
    }
    batch.isWritten = true;
    this.#advance();
  }

  /** Lets written batches count, as long as no gap is before them, and answers their requests. */
  #advance(): void {
    const { requests, identity, counters } = this.#parts;
    while (this.#closed > 0 && this.#batches[this.#oldest].isWritten) {
      const batch = this.#batches[this.#oldest];
      this.#oldest = (this.#oldest + 1) % this.#batches.length;
      this.#closed--;
      this.completedPosition = batch.end;
      this.completedSequence = batch.sequence;
      this.completedWritten += batch.blocks * identity.blockSize;
      counters.add(AT.writtenBytes, batch.blocks * identity.blockSize);
      counters.add(AT.journalWrittenBytes, batch.bytes);
      this.#durability.completed(batch, this.trimmedPosition);
      for (let nth = 0; nth < batch.requestCount; nth++) {
        const request = batch.requests[nth];
        if (requests.fua[request] !== 0) this.#awaitDurable(request);
        else requests.answer(request, 0);
      }
      batch.requestCount = 0;
    }
  }

  #sync(): void {
    const size = this.#size;
    const { fds } = this.#parts;
    [this.#current, this.#next] = [this.#next, this.#current];
    this.#currentCount = this.#nextCount;
    this.#nextCount = 0;
    this.#syncPosition = this.completedPosition;
    this.#syncSequence = this.completedSequence;
    if (this.#parts.isDurableInStore) {
      this.lacksStore = true;
      return this.#storeHas();
    }
    // Batches in the store are durable, and their segments may be in use again. To sync from the last
    // sync on failed an assertion as soon as the whole journal was used without any flush.
    const durable = Math.max(this.durablePosition, this.trimmedPosition);
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
    if (this.failure !== 0) return;
    if (result < 0) return this.fail(result, "a sync of the journal");
    if (this.#syncs === 0) this.#flushed();
  }

  /** The sync has ended. */
  #flushed(): void {
    this.#durability.synced(this.#syncPosition, this.#syncSequence, this.trimmedPosition);
    this.#answerFlushes();
  }

  /** The store has what the sync was to cover. */
  #stored(): void {
    this.#durability.stored(this.#syncPosition, this.#syncSequence, this.trimmedPosition);
    this.#answerFlushes();
  }

  /** Answers the flushes of the last sync, unless somebody else may have the volume by now. */
  #answerFlushes(): void {
    const { requests, lease } = this.#parts;
    this.#lacksLease = !lease.isHeld;
    if (this.#lacksLease) return;
    for (let nth = 0; nth < this.#currentCount; nth++) requests.answer(this.#current[nth], 0);
    this.#currentCount = 0;
  }

  /** The store has all before a position. */
  trim(position: number): void {
    assert(position >= this.trimmedPosition, "what was given up does not come back");
    assert(position <= this.completedPosition, "the store has what the journal has had");
    this.trimmedPosition = this.#trimmedBy(position);
    if (this.lacksStore) this.#storeHas();
  }

  /** Answers the flushes that wait for the store, if it has what they cover. */
  #storeHas(): void {
    if (this.trimmedPosition < this.#syncPosition) return;
    this.lacksStore = false;
    this.#stored();
  }

  /** Nothing is between where the journal had ended and where it was continued. */
  #trimmedBy(position: number): number {
    const { end } = this.#parts;
    return position === end.position ? end.next : position;
  }

  /** Drops the batch that collects, and answers its requests with an error. */
  refuse(result: number): void {
    if (this.#open === undefined) return;
    this.#failBatch(this.#open, result);
    this.#open = undefined;
    this.isFull = false;
  }

  /**
   * Writing has failed for good: answers everything that waits with the error.
   *
   * @param what The operation that has failed; undefined if somebody else has said it.
   */
  fail(result: number, what?: string): void {
    if (this.failure !== 0) return;
    this.failure = -EIO;
    const { requests, onFailure } = this.#parts;
    if (what !== undefined) {
      onFailure(`${what} failed with errno ${-result}: the volume takes no more writes`);
    }
    for (let nth = 0; nth < this.#closed; nth++) {
      this.#failBatch(this.#batches[(this.#oldest + nth) % this.#batches.length], -EIO);
    }
    if (this.#open !== undefined) this.#failBatch(this.#open, -EIO);
    this.isFull = false;
    for (let nth = 0; nth < this.#currentCount; nth++) requests.answer(this.#current[nth], -EIO);
    for (let nth = 0; nth < this.#nextCount; nth++) requests.answer(this.#next[nth], -EIO);
    this.#currentCount = this.#nextCount = 0;
    this.lacksStore = this.#lacksLease = false;
  }

  #failBatch(batch: Batch, result: number): void {
    const { requests } = this.#parts;
    for (let nth = 0; nth < batch.requestCount; nth++) {
      requests.answer(batch.requests[nth], result);
    }
    batch.requestCount = 0;
  }
}
